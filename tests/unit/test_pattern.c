/* Patterns that people write: what they would be written out is bounded, and what is right is taken. */
#include "agents/pattern.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int compile (const char *text)
{
    regex_t pattern;
    rota_error_t error = {""};
    int status = rota_pattern_compile (&pattern, text, REG_NOSUB, &error);
    if (status == 0)
        regfree (&pattern);
    else
        assert_true (status == -EINVAL && error.text[0]);
    return status;
}

static void what_is_right_is_taken (void **state)
{
    static const char *const GOOD[] = {"limit",
                                       "(reset|resets) (in|at) ([0-9]+ ?[hms])+",
                                       "a{2,3}b{4,}c{5}",
                                       "[]{9999}+]+x",
                                       "[^]({+]*[[:alpha:]{+]+",
                                       "\\(\\{9999\\}\\+",
                                       "((((((((((a))))))))))",
                                       "x{900}",
                                       "(ab*)*(cd?)+|e",
                                       ""};
    (void)state;
    for (size_t i = 0; i < sizeof GOOD / sizeof *GOOD; i++)
        if (compile (GOOD[i]) != 0)
            fail_msg ("\"%s\" is refused", GOOD[i]);
}

static void what_would_take_all_memory_is_refused (void **state)
{
    static const char *const LARGE[] = {"x{9999}",
                                        "(x{100}){100}",
                                        "((((x{20}){20}){20}){20})",
                                        "x{99999999999999999999}",
                                        "x{99999999999999999999,}",
                                        "(x{90})*+*+*+*+*+*+*+*",
                                        "a+++++++++++++++++++++++++++++++++++++++++++",
                                        "(a|(b|[c])+++++++++++++++++++++++++++++)",
                                        "a?????????????????????????????????????????????",
                                        "((((((((((((((((x?)?)?)?)?)?)?)?)?)?)?)?)?)?)?)?)",
                                        "(((R?)+)+){180}",
                                        "R??????++++++",
                                        "(((((((((((((((x+)+)+)+)+)+)+)+)+)+)+)+)+)+)+)+"};
    (void)state;
    for (size_t i = 0; i < sizeof LARGE / sizeof *LARGE; i++)
        if (compile (LARGE[i]) == 0)
            fail_msg ("\"%s\" is taken", LARGE[i]);
    char deep[2001];
    memset (deep, '(', 1000);
    memset (deep + 1000, ')', 1000);
    deep[2000] = '\0';
    assert_int_equal (compile (deep), -EINVAL);
}

static void what_is_not_well_formed_is_refused (void **state)
{
    static const char *const BAD[] = {"(", "[", "[a", "x{3,1}", "[[:nothing:]]"};
    (void)state;
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++)
        if (compile (BAD[i]) == 0)
            fail_msg ("\"%s\" is taken", BAD[i]);
}

int main (void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test (what_is_right_is_taken),
        cmocka_unit_test (what_would_take_all_memory_is_refused),
        cmocka_unit_test (what_is_not_well_formed_is_refused),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}

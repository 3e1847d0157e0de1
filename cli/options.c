#include "cli/options.h"

#include "bus/guess.h"
#include "bus/units.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const rota_option_t *option;
    const char *value; /* "" for flags */
} given_t;

struct rota_options {
    const rota_option_t *tables[2];
    given_t *given;
    size_t given_count;
    const char **arguments;
    size_t argument_count;
    char *const *rest;
    size_t rest_count;
};

typedef struct {
    char *const *arguments;
    size_t count;
    size_t next;
} cursor_t;

static const rota_option_t *find (const rota_options_t *self, const char *name, size_t length)
{
    for (size_t t = 0; t < 2; t++)
        for (const rota_option_t *option = self->tables[t]; option && option->name; option++)
            if (strlen (option->name) == length && strncmp (option->name, name, length) == 0)
                return option;
    return NULL;
}

static const rota_option_t *find_letter (const rota_options_t *self, char letter)
{
    for (size_t t = 0; t < 2; t++)
        for (const rota_option_t *option = self->tables[t]; option && option->name; option++)
            if (option->letter == letter)
                return option;
    return NULL;
}

static int unknown (const rota_options_t *self, const char *name, size_t length, rota_error_t *error)
{
    rota_guess_t guess;

    length = length < ROTA_ID_MAX_BYTES ? length : ROTA_ID_MAX_BYTES;
    rota_guess_start (&guess, name, length);
    for (size_t t = 0; t < 2; t++)
        for (const rota_option_t *option = self->tables[t]; option && option->name; option++)
            rota_guess_offer (&guess, option->name, strlen (option->name));
    return rota_error_set (error, -EINVAL, "unknown option --%.*s%s%s", (int)length, name,
                           guess.best ? "; did you mean --" : "", guess.best ? guess.best : "");
}

static int check_value (const rota_option_t *option, const char *value, rota_error_t *error)
{
    int64_t number;

    if (option->kind == ROTA_OPTION_DURATION && rota_duration_parse (value, &number) < 0)
        return rota_error_set (error, -EINVAL, "--%s wants a duration like 90, 30s, 5m or 1h30m, not \"%s\"",
                               option->name, value);
    if (option->kind == ROTA_OPTION_NUMBER && rota_integer_parse (value, &number) < 0)
        return rota_error_set (error, -EINVAL, "--%s wants a whole number, not \"%s\"", option->name, value);
    if (option->kind == ROTA_OPTION_TEXT && !*value)
        return rota_error_set (error, -EINVAL, "--%s wants %s, not an empty text", option->name,
                               option->value);
    return 0;
}

static int keep (rota_options_t *self, const rota_option_t *option, const char *value, rota_error_t *error)
{
    for (size_t i = 0; i < self->given_count && !option->repeated; i++)
        if (self->given[i].option == option && option->kind != ROTA_OPTION_FLAG)
            return rota_error_set (error, -EINVAL, "--%s is given twice", option->name);
    int status = check_value (option, value, error);
    if (status < 0)
        return status;
    self->given[self->given_count++] = (given_t){option, value};
    return 0;
}

/* The value of `option`: what follows "=" or the letter, else the next argument. */
static int take (rota_options_t *self, const rota_option_t *option, const char *attached, cursor_t *cursor,
                 rota_error_t *error)
{
    if (option->kind == ROTA_OPTION_FLAG) {
        if (attached)
            return rota_error_set (error, -EINVAL, "--%s takes no value", option->name);
        return keep (self, option, "", error);
    }
    if (!attached && cursor->next >= cursor->count)
        return rota_error_set (error, -EINVAL, "--%s wants a value: --%s %s", option->name, option->name,
                               option->value);
    return keep (self, option, attached ? attached : cursor->arguments[cursor->next++], error);
}

static int take_long (rota_options_t *self, const char *text, cursor_t *cursor, rota_error_t *error)
{
    size_t length = strcspn (text, "=");
    const rota_option_t *option = find (self, text, length);
    if (!option)
        return unknown (self, text, length, error);
    return take (self, option, text[length] ? text + length + 1 : NULL, cursor, error);
}

static int take_letters (rota_options_t *self, const char *text, cursor_t *cursor, rota_error_t *error)
{
    for (; *text; text++) {
        const rota_option_t *option = find_letter (self, *text);
        if (!option)
            return rota_error_set (error, -EINVAL, "unknown option -%c",
                                   *text > ' ' && *text < 127 ? *text : '?');
        if (option->kind != ROTA_OPTION_FLAG)
            return take (self, option, text[1] ? text + 1 : NULL, cursor, error);
        int status = take (self, option, NULL, cursor, error);
        if (status < 0)
            return status;
    }
    return 0;
}

int rota_options_parse (const rota_option_t *own, const rota_option_t *common, size_t count,
                        char *const *arguments, rota_options_t **ret_options, rota_error_t *error)
{
    rota_options_t *self = calloc (1, sizeof *self);
    cursor_t cursor = {arguments, count, 0};
    int status = 0;

    if (!self)
        return rota_error_set (error, -ENOMEM, "no memory");
    self->tables[0] = own;
    self->tables[1] = common;
    /* One letter group may hold several options: bounded by the bytes of all arguments. */
    size_t bytes = 1;
    for (size_t i = 0; i < count; i++)
        bytes += strlen (arguments[i]) + 1;
    self->given = calloc (bytes, sizeof *self->given);
    self->arguments = calloc (count + 1, sizeof *self->arguments);
    if (!self->given || !self->arguments) {
        rota_options_destroy (&self);
        return rota_error_set (error, -ENOMEM, "no memory");
    }

    while (status == 0 && cursor.next < cursor.count) {
        const char *text = arguments[cursor.next++];
        if (strcmp (text, "--") == 0) {
            self->rest = arguments + cursor.next;
            self->rest_count = count - cursor.next;
            break;
        }
        if (strncmp (text, "--", 2) == 0)
            status = take_long (self, text + 2, &cursor, error);
        else if (text[0] == '-' && text[1] && (text[1] < '0' || text[1] > '9')) /* -5 is a number */
            status = take_letters (self, text + 1, &cursor, error);
        else
            self->arguments[self->argument_count++] = text;
    }
    if (status < 0) {
        rota_options_destroy (&self);
        return status;
    }
    *ret_options = self;
    return 0;
}

void rota_options_destroy (rota_options_t **self_p)
{
    rota_options_t *self = *self_p;
    if (!self)
        return;
    free (self->given);
    free (self->arguments);
    free (self);
    *self_p = NULL;
}

size_t rota_options_count (const rota_options_t *self, const char *name)
{
    const rota_option_t *option = find (self, name, strlen (name));
    size_t count = 0;
    assert (option);
    for (size_t i = 0; i < self->given_count; i++)
        count += self->given[i].option == option;
    return count;
}

const char *rota_options_nth (const rota_options_t *self, const char *name, size_t index)
{
    const rota_option_t *option = find (self, name, strlen (name));
    assert (option);
    for (size_t i = 0; i < self->given_count; i++)
        if (self->given[i].option == option && index-- == 0)
            return self->given[i].value;
    return NULL;
}

bool rota_options_flag (const rota_options_t *self, const char *name)
{
    return rota_options_count (self, name) > 0;
}

const char *rota_options_text (const rota_options_t *self, const char *name, const char *absent)
{
    const char *value = rota_options_nth (self, name, 0);
    return value ? value : absent;
}

int64_t rota_options_number (const rota_options_t *self, const char *name, int64_t absent)
{
    const char *value = rota_options_nth (self, name, 0);
    int64_t number = absent;
    if (value)
        rota_integer_parse (value, &number);
    return number;
}

int64_t rota_options_duration_ms (const rota_options_t *self, const char *name, int64_t absent)
{
    const char *value = rota_options_nth (self, name, 0);
    int64_t duration_ms = absent;
    if (value)
        rota_duration_parse (value, &duration_ms);
    return duration_ms;
}

size_t rota_options_argument_count (const rota_options_t *self)
{
    return self->argument_count;
}

const char *rota_options_argument (const rota_options_t *self, size_t index)
{
    return index < self->argument_count ? self->arguments[index] : NULL;
}

size_t rota_options_rest_count (const rota_options_t *self)
{
    return self->rest_count;
}

char *const *rota_options_rest (const rota_options_t *self)
{
    return self->rest;
}

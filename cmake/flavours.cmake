# How the code is compiled. A flavour is one set of flags; CMakePresets.json pairs flavours with compilers.

set (ROTA_FLAVOUR "release" CACHE STRING "release, dev (ASan and UBSan), tsan, coverage or fuzz (libFuzzer, clang only)")
set_property (CACHE ROTA_FLAVOUR PROPERTY STRINGS release dev tsan coverage fuzz)

# CMake's build types would add -DNDEBUG, and our assertions stay on: every flag comes from the flavour.
set (CMAKE_BUILD_TYPE "" CACHE STRING "left empty: ROTA_FLAVOUR decides" FORCE)

set (flavour_release -O2 -g -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fstack-clash-protection)
set (flavour_dev -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined)
set (flavour_tsan -O1 -g -fno-omit-frame-pointer -fsanitize=thread)
set (flavour_coverage -O0 -g --coverage)
set (flavour_fuzz -O1 -g -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined
     -fno-sanitize-recover=undefined)

if (NOT DEFINED flavour_${ROTA_FLAVOUR})
    message (FATAL_ERROR "ROTA_FLAVOUR=${ROTA_FLAVOUR}: must be release, dev, tsan, coverage or fuzz")
endif ()
if (ROTA_FLAVOUR STREQUAL "fuzz" AND NOT CMAKE_C_COMPILER_ID STREQUAL "Clang")
    message (FATAL_ERROR "the fuzz flavour needs clang (libFuzzer): use `cmake --preset fuzz`")
endif ()

add_compile_definitions (_GNU_SOURCE ROTA_VERSION="${PROJECT_VERSION}")
add_compile_options (-Wall -Wextra -Wshadow -Wconversion -Wvla -Wformat=2 -Werror)
# gcc warns of truncation where snprintf is used for exactly that, and at each optimisation level of something else.
if (CMAKE_C_COMPILER_ID STREQUAL "GNU")
    add_compile_options (-Wno-format-truncation)
endif ()
add_compile_options (${flavour_${ROTA_FLAVOUR}})

set (link_flags ${flavour_${ROTA_FLAVOUR}})
list (FILTER link_flags INCLUDE REGEX "^(-fsanitize=|--coverage)")
add_link_options (${link_flags} -Wl,--as-needed -Wl,-z,relro -Wl,-z,now)

set (CMAKE_POSITION_INDEPENDENT_CODE ON)
include (CheckPIESupported)
check_pie_supported (LANGUAGES C)

find_program (CCACHE ccache)
if (CCACHE AND NOT DEFINED CMAKE_C_COMPILER_LAUNCHER)
    set (CMAKE_C_COMPILER_LAUNCHER "${CCACHE}")
endif ()

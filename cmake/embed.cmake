# cmake -DINPUT=FILE -DOUTPUT=FILE.c -DNAME=SYMBOL -P embed.cmake: a text file as a C string and its length.
file (READ "${INPUT}" text HEX)
string (REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${text}")
string (REGEX REPLACE "((0x[0-9a-f][0-9a-f],)(0x[0-9a-f][0-9a-f],)(0x[0-9a-f][0-9a-f],)(0x[0-9a-f][0-9a-f],)(0x[0-9a-f][0-9a-f],)(0x[0-9a-f][0-9a-f],)(0x[0-9a-f][0-9a-f],)(0x[0-9a-f][0-9a-f],))" "\\1\n" bytes "${bytes}")
get_filename_component (source "${INPUT}" NAME)
file (WRITE "${OUTPUT}" "/* Made from ${source}. */\n#include <stddef.h>\n"
    "extern const char ${NAME}[];\nextern const size_t ${NAME}_BYTES;\n"
    "const char ${NAME}[] = {\n${bytes}0};\nconst size_t ${NAME}_BYTES = sizeof ${NAME} - 1;\n")

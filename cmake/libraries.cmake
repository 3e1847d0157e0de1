# The libraries outside the project, all from Debian 12 (deploy/packages.txt); each room links only what it names.

find_package (PkgConfig REQUIRED)

pkg_check_modules (ZMQ REQUIRED IMPORTED_TARGET libzmq>=4.3)
pkg_check_modules (CZMQ REQUIRED IMPORTED_TARGET libczmq>=4.2)
pkg_check_modules (PROTOBUF_C REQUIRED IMPORTED_TARGET libprotobuf-c>=1.4)
pkg_check_modules (SQLITE REQUIRED IMPORTED_TARGET sqlite3>=3.40)
pkg_check_modules (YAML REQUIRED IMPORTED_TARGET yaml-0.1>=0.2)
pkg_check_modules (JANSSON REQUIRED IMPORTED_TARGET jansson)
pkg_check_modules (CURL REQUIRED IMPORTED_TARGET libcurl)
pkg_check_modules (MICROHTTPD REQUIRED IMPORTED_TARGET libmicrohttpd)
pkg_check_modules (SODIUM REQUIRED IMPORTED_TARGET libsodium)
pkg_check_modules (ZLIB REQUIRED IMPORTED_TARGET zlib)
pkg_check_modules (SYSTEMD REQUIRED IMPORTED_TARGET libsystemd)
pkg_check_modules (NCURSES REQUIRED IMPORTED_TARGET ncursesw)

find_path (UTHASH_HEADER uthash.h)
if (NOT UTHASH_HEADER)
    message (FATAL_ERROR "uthash.h is missing: install uthash-dev, or let ./dev build do it")
endif ()
find_program (PROTOC_C protoc-c REQUIRED)

# Only the tests need it: a user's build works without.
pkg_check_modules (CMOCKA IMPORTED_TARGET cmocka)

# A room is a folder with one duty: a static library rota_<room> of all its .c files but main.c, which becomes its program.

set (ROTA_ALL_ROOMS proto bus broker scheduler agents telemetry cli)
set (ROTA_ROOMS ${ROTA_ALL_ROOMS} CACHE STRING "rooms to configure; tests that include another room are left out")

# rota_add_room (NAME [PROGRAM program] [GENERATED file...] USES library...)
# Headers are included from the source root ("bus/error.h"), generated ones from the build ("proto/rota.pb-c.h").
function (rota_add_room name)
    cmake_parse_arguments (ROOM "" "PROGRAM" "GENERATED;USES" ${ARGN})
    file (GLOB sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/*.c")
    list (FILTER sources EXCLUDE REGEX "/main\\.c$")

    set (library rota_${name})
    if (sources OR ROOM_GENERATED)
        add_library (${library} STATIC ${sources} ${ROOM_GENERATED})
        set (scope PUBLIC)
    else ()
        add_library (${library} INTERFACE)
        set (scope INTERFACE)
    endif ()
    target_include_directories (${library} ${scope} "${PROJECT_SOURCE_DIR}")
    target_link_libraries (${library} ${scope} ${ROOM_USES})

    if (ROOM_PROGRAM AND EXISTS "${CMAKE_CURRENT_SOURCE_DIR}/main.c")
        add_executable (${ROOM_PROGRAM} main.c)
        target_link_libraries (${ROOM_PROGRAM} PRIVATE ${library})
        set_target_properties (${ROOM_PROGRAM} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${ROTA_BIN_DIR}")
        add_dependencies (programs ${ROOM_PROGRAM})
        install (TARGETS ${ROOM_PROGRAM} RUNTIME DESTINATION bin)
    endif ()
endfunction ()

# One Debian package `rota` with all programs (`./dev package`). Units are installed, never enabled.

file (GLOB units CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/deploy/systemd/*.service"
      "${PROJECT_SOURCE_DIR}/deploy/systemd/*.target")
if (units)
    install (FILES ${units} DESTINATION lib/systemd/system)
endif ()
file (GLOB man_pages CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/docs/man/*.1")
if (man_pages)
    install (FILES ${man_pages} DESTINATION share/man/man1)
endif ()
install (DIRECTORY examples DESTINATION share/doc/rota FILES_MATCHING PATTERN "*.yaml" PATTERN "*.py")

set (CPACK_GENERATOR DEB)
set (CPACK_PACKAGE_NAME rota)
set (CPACK_PACKAGE_CONTACT "the rota project <rota@localhost>")
set (CPACK_PACKAGE_DESCRIPTION_SUMMARY "${PROJECT_DESCRIPTION}")
set (CPACK_PACKAGING_INSTALL_PREFIX /usr)
set (CPACK_STRIP_FILES ON)
set (CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set (CPACK_DEBIAN_PACKAGE_SECTION utils)
set (CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set (CPACK_DEBIAN_PACKAGE_RECOMMENDS "git, bubblewrap")
include (CPack)

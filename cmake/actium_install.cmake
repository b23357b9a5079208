# Install rules: libraries, headers, the CMake package, the program.
include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/actium)
set(libraries actium)
if(TARGET actium_propagation)
  list(APPEND libraries actium_propagation)
  if(ACTIUM_WITH_CUDA)  # cuBLAS is where the toolkit keeps it
    set_target_properties(actium_propagation PROPERTIES INSTALL_RPATH "$ORIGIN;${CUDAToolkit_LIBRARY_DIR}")
  else()
    set_target_properties(actium_propagation PROPERTIES INSTALL_RPATH "$ORIGIN")
  endif()
endif()
install(TARGETS ${libraries} EXPORT actiumTargets FILE_SET HEADERS FILE_SET textual)
install(EXPORT actiumTargets NAMESPACE actium:: DESTINATION ${package_dir})
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/actiumConfig.cmake.in
  ${PROJECT_BINARY_DIR}/actiumConfig.cmake INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/actiumConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/actiumConfig.cmake ${PROJECT_BINARY_DIR}/actiumConfigVersion.cmake
  DESTINATION ${package_dir})
if(TARGET actium_program)
  set_target_properties(actium_program PROPERTIES INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR}")
  install(TARGETS actium_program)
  install(PROGRAMS ${PROJECT_SOURCE_DIR}/scripts/plot_notebook.py DESTINATION ${CMAKE_INSTALL_DATADIR}/actium)
endif()

# SPDX-License-Identifier: MIT OR Apache-2.0
# Reads the version from the one place that states it, the header of the driver's version resource.
set(AERO_VERSION_HEADER ${CMAKE_SOURCE_DIR}/drivers/windows7/virtio-blk/include/aero_virtio_blk_version.h)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${AERO_VERSION_HEADER})
file(READ ${AERO_VERSION_HEADER} _text)
set(AERO_VERSION "")
foreach(_part MAJOR MINOR PATCH)
    if(NOT _text MATCHES "#define AERO_VIRTIO_BLK_VERSION_${_part} ([0-9]+)\n")
        message(FATAL_ERROR "${AERO_VERSION_HEADER} does not define AERO_VIRTIO_BLK_VERSION_${_part}.")
    endif()
    list(APPEND AERO_VERSION ${CMAKE_MATCH_1})
endforeach()
list(JOIN AERO_VERSION "." AERO_VERSION)

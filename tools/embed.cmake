# SPDX-License-Identifier: Apache-2.0
# Turn a file of kernels into a C array: cmake -DIN=... -DOUT=... -DNAME=... -P embed.cmake
#
# OUT defines `const unsigned char NAME[]`, the bytes of IN after a `#line` with its name, so that a
# compiler's log names the real file, and a 0; and `const size_t NAME_size`, which does not count the 0. Bytes
# instead of a string literal: C11 guarantees literals of 4095 characters only.
cmake_minimum_required(VERSION 3.20)

foreach(variable IN ITEMS IN OUT NAME)
  if(NOT ${variable})
    message(FATAL_ERROR "embed.cmake: -D${variable}=... is missing")
  endif()
endforeach()

get_filename_component(file "${IN}" NAME)
string(HEX "#line 1 \"${file}\"\n" line)
file(READ "${IN}" text HEX) # never as text: CMake would take [ and ; in it as parts of a list
set(bytes "${line}${text}")
string(LENGTH "${bytes}" digits)
math(EXPR size "${digits} / 2")

string(REPEAT "[0-9a-f]" 32 sixteen_bytes)
string(REGEX REPLACE "(${sixteen_bytes})" "\\1\n" bytes "${bytes}")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
file(WRITE "${OUT}" "/* Made by tools/embed.cmake from ${file}; changes here are lost. */
#include <stddef.h>

extern const unsigned char ${NAME}[];
extern const size_t ${NAME}_size;

const unsigned char ${NAME}[] = {
${bytes}0x00
};
const size_t ${NAME}_size = ${size};
")

# SPDX-License-Identifier: Apache-2.0
# Turn a file of kernels, with what it includes, into a C array:
#
#     cmake -DROOT=... -DIN=... -DOUT=... -DNAME=... -P embed.cmake
#
# IN is a path in the folder ROOT. OUT defines `const unsigned char NAME[]`, bytes that need no other file and
# a 0; and `const size_t NAME_size`, which does not count the 0. OUT.d lists the files that went into it.
#
# A line `#include "file"`, relative to the file that it is in, makes way for that file, or if it was there
# before for an empty line; `#line` says what is from where, so that a compiler's log names the real files. No
# condition is looked at: the files have guards. Only what lies in the same topmost folder of ROOT is taken.
# Other files are the host's: their lines stay, and must be where a device does not read them.
#
# Bytes instead of a string literal: C11 guarantees literals of 4095 characters only.
cmake_minimum_required(VERSION 3.20)

foreach(variable IN ITEMS ROOT IN OUT NAME)
  if(NOT ${variable})
    message(FATAL_ERROR "embed.cmake: -D${variable}=... is missing")
  endif()
endforeach()
string(REGEX MATCH "^[^/]+/" top "${IN}")

# Text is handled as bytes, each two digits and a blank: CMake would take [ and ; in it as parts of a list.
function(to_bytes out hex)
  string(REGEX REPLACE "(..)" "\\1 " bytes "${hex}")
  set(${out} "${bytes}" PARENT_SCOPE)
endfunction()

function(emit_line number path)
  string(HEX "#line ${number} \"${path}\"\n" hex)
  to_bytes(bytes "${hex}")
  set_property(GLOBAL APPEND_STRING PROPERTY bytes "${bytes}")
endfunction()

# Append a file to the global property `bytes`, and itself to `files`.
function(flatten path)
  set_property(GLOBAL APPEND PROPERTY files "${path}")
  file(READ "${ROOT}/${path}" hex HEX)
  to_bytes(rest "${hex}")
  file(STRINGS "${ROOT}/${path}" includes REGEX "^#include \"[^\"]+\"$")
  get_filename_component(folder "${path}" DIRECTORY)
  set(number 1)
  emit_line(1 "${path}")
  foreach(include IN LISTS includes)
    string(REGEX REPLACE "^#include \"(.*)\"$" "\\1" file "${include}")
    set(file "${folder}/${file}")
    cmake_path(NORMAL_PATH file)
    string(FIND "${file}" "${top}" at)
    if(NOT at EQUAL 0)
      continue()
    endif()

    string(HEX "${include}\n" hex)
    to_bytes(line "${hex}")
    string(FIND "${rest}" "${line}" at)
    string(LENGTH "${line}" length)
    string(SUBSTRING "${rest}" 0 ${at} before)
    math(EXPR at "${at} + ${length}")
    string(SUBSTRING "${rest}" ${at} -1 rest)
    string(REGEX MATCHALL "0a " newlines "${before}")
    list(LENGTH newlines lines)
    math(EXPR number "${number} + ${lines} + 1")
    set_property(GLOBAL APPEND_STRING PROPERTY bytes "${before}")
    get_property(files GLOBAL PROPERTY files)
    if(file IN_LIST files)
      set_property(GLOBAL APPEND_STRING PROPERTY bytes "0a ")
    else()
      flatten("${file}")
      emit_line(${number} "${path}")
    endif()
  endforeach()
  set_property(GLOBAL APPEND_STRING PROPERTY bytes "${rest}")
endfunction()

flatten("${IN}")
get_property(bytes GLOBAL PROPERTY bytes)
string(LENGTH "${bytes}" size)
math(EXPR size "${size} / 3")
string(REPEAT "[0-9a-f][0-9a-f] " 16 sixteen_bytes)
string(REGEX REPLACE "(${sixteen_bytes})" "\\1\n" bytes "${bytes}")
string(REGEX REPLACE "([0-9a-f][0-9a-f]) " "0x\\1," bytes "${bytes}")
file(WRITE "${OUT}" "/* Made by cmake/embed.cmake from ${IN}; changes here are lost. */
#include <stddef.h>

extern const unsigned char ${NAME}[];
extern const size_t ${NAME}_size;

const unsigned char ${NAME}[] = {
${bytes}0x00
};
const size_t ${NAME}_size = ${size};
")

# As make reads it, where a blank in a path takes a backslash.
get_property(files GLOBAL PROPERTY files)
list(TRANSFORM files PREPEND "${ROOT}/")
list(PREPEND files "${OUT}")
list(TRANSFORM files REPLACE " " "\\\\ ")
list(POP_FRONT files out)
list(JOIN files " " files)
file(WRITE "${OUT}.d" "${out}: ${files}\n")

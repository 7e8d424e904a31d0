# SPDX-License-Identifier: Apache-2.0
# cmake -DIN=clsample.h -DOUT=FILE -P later.cmake: the header of a later version, in which every struct that
# programs hand over has a field more at its end.
file(READ "${IN}" text)
set(structs options params logits output generation texts)
foreach(struct IN LISTS structs)
  string(REPLACE "\n} clsample_${struct};" "\n    uint64_t later;\n} clsample_${struct};" changed "${text}")
  if(changed STREQUAL text)
    message(FATAL_ERROR "${IN} has no struct clsample_${struct}")
  endif()
  set(text "${changed}")
endforeach()
file(WRITE "${OUT}" "${text}")

# SPDX-License-Identifier: Apache-2.0
# cmake -DIN=README.md -DOUT=FILE -DLANGUAGE=c [-DAS=NAME] -P readme.cmake
#
# Write the first block of a Markdown file that is fenced as LANGUAGE to OUT; with AS as a C string constant
# of that name. So the text that is read and the text that is tested are one.
file(READ "${IN}" text)
string(FIND "${text}" "\n```${LANGUAGE}\n" begin)
if(begin EQUAL -1)
  message(FATAL_ERROR "${IN} has no block that begins with ```${LANGUAGE}")
endif()
string(LENGTH "\n```${LANGUAGE}\n" length)
math(EXPR begin "${begin} + ${length}")
string(SUBSTRING "${text}" ${begin} -1 text)
string(FIND "${text}" "\n```\n" end)
if(end EQUAL -1)
  message(FATAL_ERROR "${IN}: the block that begins with ```${LANGUAGE} has no end")
endif()
math(EXPR end "${end} + 1")
string(SUBSTRING "${text}" 0 ${end} text)

if(AS)
  string(REPLACE "\\" "\\\\" text "${text}")
  string(REPLACE "\"" "\\\"" text "${text}")
  string(REPLACE "\n" "\\n\"\n    \"" text "${text}")
  set(text "static const char ${AS}[] =\n    \"${text}\";\n")
endif()
file(WRITE "${OUT}" "${text}")

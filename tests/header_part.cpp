// SPDX-License-Identifier: Apache-2.0
// The same as strict C++11, with macros that initialise without narrowing.
#include "header_part.c"

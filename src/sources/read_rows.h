// The caller's rows as doubles, which hold every value of every dtype.
#pragma once

#include "array.h"

namespace epsball {

// to (rows, features) = rows [first, first + rows) of x.
void read_rows(const Array& x, Index first, Index rows, double* to);

}  // namespace epsball

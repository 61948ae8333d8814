// A run of L-infinity PGD through a dense model, from its start to its last judgement, as one call of the table.
#pragma once

#include "attacks/track_best.h"
#include "dense.h"

namespace epsball {

// What the calls of every step would be given: see PgdSlab::iterate_once.
struct PgdRows {
  Index rows = 0;
  DenseModel model;
  LossRows loss;   // logits and dlogits lie where the kernel has them
  SignStep step;   // best is null where the last iterate is the result
  TrackBest best;  // of step 0
  int steps = 0;
  bool judge = true;        // the last iterate too
  bool early_stop = false;  // a row is left alone once it is solved
  Index column = 0;         // of step 0: the first of all is taken as the best so far
  Index before = 0;         // evaluations before step 0
};

}  // namespace epsball

// L-infinity PGD through dense models, more of it than a product as one call of the table: a step, or a whole run.
#pragma once

#include "attacks/track_best.h"
#include "dense.h"

namespace epsball {

// From the logits' gradient through a layer that goes forward by dots and has no activation, to the logits of the rows
// where the step has led.
struct LinearStep {
  Index rows = 0;
  DenseLayer layer;
  const float* dlogits = nullptr;  // (rows, out)
  Index dlogits_ld = 0;
  SignStep step;
  float* logits = nullptr;  // (rows, out)
  Index logits_ld = 0;
};

// A run from its start to its last judgement.
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

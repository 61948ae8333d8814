// What all native attacks share: their inputs and outputs, and a slab of rows with its limits and best points.
#pragma once

#include <map>

#include "attacks/track_best.h"
#include "combine.h"
#include "recording.h"
#include "slabs.h"
#include "staging.h"

namespace epsball {

struct AttackSettings {
  Norm norm = Norm::linf;
  Loss loss = Loss::cross_entropy;
  bool descend = false;       // minimise the loss (towards a target) instead of maximising it
  bool targeted = false;      // a row succeeds when it is predicted as its judge label, not when it is not
  bool minimum_norm = false;  // the best point is the nearest one that succeeds; there is no ball
  bool keep_best = true;      // false: the last iterate is the result (single-step methods)
  bool judge = true;          // evaluate the result; false saves a single-step method's second forward pass
  bool early_stop = false;
  int targets = 0;  // classes attacked one after another, in order of their clean logits, the label left out; 0: the
                    // loss is the label's
  bool judge_again = false;   // judge the stored points once more, all in one batch: a foreign model may round a row's
                              // logits differently in a smaller one
  bool keep_partial = false;  // what was found is stored even if the model throws midway
  float confidence = 0.0f;    // margin that success needs while the attack runs
  bool unit = true;           // gradients are scaled row by row, so that none vanishes; false: they are the loss's own
  float stretch = 10.0f;      // as LossRows has it, and noise_size
  float noise_size = 0.0f;
  std::uint64_t seed = 0;
};

// All per row of x. The float values are rounded so that they stay inside the exact ones.
struct AttackInputs {
  Array x;
  const std::int32_t* labels = nullptr;  // of the loss, or null and then
  const float* targets = nullptr;        // (rows, classes)
  const std::int32_t* judge = nullptr;   // labels that decide success
  const double* eps = nullptr;
  const float* radius = nullptr;        // eps as the largest float within
  const float* start_radius = nullptr;  // of the random start: eps, or R+FGSM's alpha
  const float* step_size = nullptr;
  const float* box_lo = nullptr;  // (features), infinite without a box
  const float* box_hi = nullptr;
  const double* exact_lo = nullptr;  // (features), null without a box
  const double* exact_hi = nullptr;
  const std::uint8_t* mask = nullptr;  // 1 where the attacker may change a feature; null: everywhere
  Index mask_ld = 0;                   // 0: one mask for all rows
  const Index* ids = nullptr;          // what keys each row's random numbers
  Array start;                         // adversarial points to begin at, for attacks that need one; or no data
};

// All per row of x; queries start at 0, a trace at NaN.
struct AttackOutputs {
  Array x_adv;
  std::uint8_t* success = nullptr;
  double* distance = nullptr;  // may be null
  std::int64_t* queries = nullptr;
  float* loss = nullptr;
  std::uint8_t* zero_gradient = nullptr;
  std::uint8_t* broken = nullptr;  // a logit was not finite
  float* trace = nullptr;          // (rows, trace_ld): the loss at every iterate; or null
  Index trace_ld = 0;
};

// One worker's attack: its buffers are cut once, then slab follows slab. A subclass says how rows move.
class SlabAttack {
 public:
  virtual ~SlabAttack() = default;
  SlabAttack(const SlabAttack&) = delete;
  SlabAttack& operator=(const SlabAttack&) = delete;

  // Attacks rows [first, first + rows) of `in` and writes the same rows of `out`.
  void run(const AttackInputs& in, const AttackOutputs& out, Index first, Index rows);

  // The working set of a row that every attack has, in floats.
  static Index floats_per_row(const Target& target);

 protected:
  SlabAttack(const Target& target, const AttackSettings& settings, Worker& worker);

  // Moves the active_ rows that `run` has loaded and leaves every slot's result in best_.
  virtual void attack() = 0;

  Stream stream() const { return worker_.context.stream; }
  // One round of a loop. Rounds of one kind (0, 1, ...) give a device the same calls, which are noted once in a slab
  // and replayed: what changes from round to round lies in the table's memory, where Kernels::put leaves it. A negative
  // kind is like no other; a trace has a column for each round. The host, which has nothing to note, does each.
  template <class F>
  void once(int kind, F&& round) {
    if (!k_.device || kind < 0 || out_->trace) return round();
    repeated_.try_emplace(kind, k_, stream()).first->second.run(round);
  }
  // Buffers whose rows move up when rows leave.
  Rows moved_rows(Index n);
  template <class T>
  T* moved(Index of_row = 1);
  void move_up(const std::vector<RowBuffer>& buffers);

  // x and the ball around x0 that [lo, hi] may hold already.
  BallRows ball(const float* radius) const;
  // Starts at x0.
  void start_at_inputs();
  // out = the sum of up to four terms, within [lo, hi].
  void combine(std::initializer_list<Term> terms, Rows out);
  // A value for every active row.
  void fill_floats(float* values, float value);
  // Minimum norm: the distance of the box's farthest corner from x0, and a gradient's size in the dual norm, over the
  // features that can move.
  void farthest_corner(Norm norm, float* out);
  void slope(Rows gradient, float* out);
  // What the loss is computed of, but for logits and their gradient.
  LossRows loss_rows() const;
  // Loss and prediction of x; with `gradient` also that of the logits, for pass_->backward.
  void evaluate(bool gradient);
  // The same where the logits of x are known.
  void evaluate_logits(Rows logits, bool gradient);
  // With targets: takes the logits at x0, by which `aim` finds the class of a rank (0: the likeliest).
  void remember_logits();
  void aim(int rank);
  // Judges the iterate evaluated last, which is the trace's `column`; the first must be 0.
  void track(Index column, Index evaluations = 1);
  TrackBest tracked() const;
  TrackBest tracked(Index column, Index evaluations) const;
  // Keeps x as the best point of the rows that track found improved.
  void keep_improved();
  // Rows that are solved leave, if they may; minimum norm: those that nothing can be nearer to always do.
  void drop_solved();
  // Judges x, then moves it along the gradient and judges it again, `steps` times. `prepare(step)` puts where the calls
  // read it what changes from step to step.
  template <class Prepare, class Move>
  void take_steps(int steps, Prepare&& prepare, Move&& move);

  const Kernels& k_;
  Worker& worker_;
  const std::unique_ptr<Pass> pass_;
  const Index features_, classes_;

  const AttackInputs* in_ = nullptr;
  const AttackOutputs* out_ = nullptr;
  Index first_ = 0;   // the slab's first row in in_ and out_
  Index active_ = 0;  // rows still in the slab; they stand at the front of every buffer

  Rows logits_;  // of the last evaluation
  Rows x_, x0_, lo_, hi_, best_, targets_;
  Rows clean_logits_;               // null without targets
  std::int32_t* rivals_ = nullptr;  // the classes aimed at; null without targets
  std::int32_t *labels_, *judge_, *slot_, *predicted_;
  Rows logit_noise_;           // (rows, classes) that the loss adds; null without
  float* log_size_ = nullptr;  // of the gradient that `evaluate` has scaled, as LossRows has it; null without
  float *loss_, *radius_, *start_radius_, *step_size_;
  float *distance_ = nullptr, *best_distance_ = nullptr;  // minimum norm: of x; of every slot's best point
  Index* ids_;
  std::uint8_t *improved_, *done_, *moving_;
  std::uint8_t* lost_ = nullptr;  // minimum norm: rows whose stored point is not misclassified

 private:
  void load(Index rows);
  void store(Index rows);
  void judge_stored(Index rows);

  const AttackSettings common_;
  std::vector<std::int32_t> counting_;  // 0, 1, 2, ...
  std::vector<float> constants_;        // one value, for every row
  std::vector<RowBuffer> leaving_;      // what moves up when rows leave
  std::map<int, Recording> repeated_;   // rounds of this slab, by kind
};

template <class T>
T* SlabAttack::moved(Index of_row) {
  T* data = worker_.arena.take<T>(worker_.slab_rows * of_row);
  leaving_.push_back({data, of_row * static_cast<Index>(sizeof(T))});
  return data;
}

template <class Prepare, class Move>
void SlabAttack::take_steps(int steps, Prepare&& prepare, Move&& move) {
  for (int step = 0; step <= steps && active_ > 0; ++step) {
    worker_.interruption.check();
    const bool last = step == steps;
    prepare(step);
    once(step > 0 && !last ? 0 : -1, [&] {
      evaluate(!last);
      track(step);
      keep_improved();
      if (last) return;
      move();
      drop_solved();
    });
  }
}

// The same in memory of the table.
AttackInputs staged(Staging& staging, const AttackInputs& in, Index classes);
AttackOutputs staged(Staging& staging, const AttackOutputs& out);

// Attacks every row of `in` with a Slab(target, settings, worker) for each worker, Slab::passes(settings) saying how
// many passes through the model a row costs.
template <class Slab, class Settings>
void run_attack(const Target& target, ArenaPool& arenas, const Settings& settings, const AttackInputs& in,
                const AttackOutputs& out, Interruption& interruption) {
  const Job job = job_on(target, arenas, interruption, in.x.rows, Slab::floats_per_row(target), Slab::passes(settings));
  Staging staging(target.kernels(), arenas);
  const AttackInputs inputs = staged(staging, in, target.classes());
  const AttackOutputs outputs = staged(staging, out);
  for_slabs(job, [&](Worker& worker) {
    Slab slab(target, settings, worker);
    for (Index first, rows; worker.next(first, rows);) slab.run(inputs, outputs, first, rows);
  });
  staging.finish();
}

}  // namespace epsball

// PGD along an average of gradients: those of earlier steps, and those of the places where a step takes them: copies
// of x at other scales, under noise, resized or of a model that is random itself, and neighbours of x.
#pragma once

#include <vector>

#include "attacks/attack.h"

namespace epsball {

struct MomentumSettings : AttackSettings {
  int steps = 10;
  int restarts = 1;
  bool random_start = false;
  Start start = Start::ball;
  float decay = 1.0f;     // of what is remembered of earlier gradients
  bool nesterov = false;  // gradients are taken ahead of x

  int copies = 1;  // of a point, each with noise, a size and scales of its own
  int scales = 1;  // of a copy: 1, 1/2, 1/4, ...
  Noise noise = Noise::normal;
  float sigma = 0.0f;    // multiplies the noise
  bool mixture = false;  // the loss is that of the copies' mean probability, where cross-entropy is their own
  int neighbours = 0;    // how far their mean gradient was from x's is added to the next one (variance tuning)
  float reach = 1.5f;    // of neighbours, in units of the radius

  Index channels = 1, height = 1, width = 1;
  Index least = 0;          // width that copies may shrink to
  double chance = 0.0;      // of a copy to be resized
  std::vector<float> taps;  // filter of gradients; empty: none
};

class MomentumSlab : public SlabAttack {
 public:
  MomentumSlab(const Target& target, const MomentumSettings& settings, Worker& worker);

  static Index iterates(const MomentumSettings& s) { return static_cast<Index>(s.restarts) * (s.steps + 1); }
  static Index floats_per_row(const Target& target) {
    return SlabAttack::floats_per_row(target) + 8 * padded(target.features());
  }
  static double passes(const MomentumSettings& s) {
    return 2.0 * static_cast<double>(iterates(s) * (1 + views(s) * (1 + s.neighbours)));
  }

 private:
  // Rows that are worth exp(log) times what is stored.
  struct Scaled {
    Rows rows;
    float* log = nullptr;
  };

  void attack() override;
  // Points whose gradients one mean is of.
  static Index views(const MomentumSettings& s) { return static_cast<Index>(s.copies) * s.scales; }
  // Forward passes since x was judged the time before, this one's included.
  Index passes_since(int step) const;

  void begin(int run);
  // What this step's calls read beside the rows.
  void prepare(int run, int step);
  void iterate_once(int run, int step);
  void move(int step);
  // sum (+)= the gradients of a point's views, which draw numbers from `view` on; the first of all is written to sum.
  void add_views(Rows point, bool evaluated, Index view, const Scaled& sum, bool fresh);
  // Returns the view.
  Rows evaluate_view(Rows point, int scale, Index view);
  void add(const Scaled& term, float times, const Scaled& sum);
  void mix(const float* log_term, const float* loss, float* log_sum, bool first);
  void draw_noise(Noise kind, Index view, Rows out, Index n);
  void resize(Rows from, Rows to, Index view, bool gradient);
  void blur(Rows gradient);
  void remember(Rows gradient);
  void take_variance();

  const MomentumSettings s_;
  const bool at_x_;  // the first view is x itself, which is evaluated anyway
  Scaled gradient_;  // of a view
  Scaled mean_;      // of the views of x
  Scaled variance_;  // neighbours' gradients less x's; null without neighbours
  Rows memory_;
  Rows ahead_, noise_, view_;  // points; null where there is no need
  Rows small_, between_;       // images; the same
  float *keep_, *add_, *length_;
  float* taps_ = nullptr;
  std::uint32_t* draw_;  // of a step's first view
};

}  // namespace epsball

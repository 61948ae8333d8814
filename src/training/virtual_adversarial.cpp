// Power iteration with gradients of the divergence, each a finite difference of length xi away from the row.
#include "training/virtual_adversarial.h"

#include <limits>

namespace epsball {

VirtualAdversarial::VirtualAdversarial(const Target& target, const VirtualSettings& settings, Worker& worker)
    : k_(target.kernels()),
      stream_(worker.context.stream),
      s_(settings),
      features_(target.features()),
      evaluator_(target, worker) {
  const Index rows = worker.slab_rows;
  for (Rows* buffer : {&x0_, &x_, &direction_, &lo_, &hi_, &free_lo_, &free_hi_})
    *buffer = worker.arena.take_rows(rows, features_);
  p_ = worker.arena.take<float>(rows * target.classes());
  xi_ = filled(k_, worker, rows, s_.xi);
  ones_ = filled(k_, worker, rows, 1.0f);
  infinite_ = filled(k_, worker, features_, std::numeric_limits<float>::infinity());
  negative_ = filled(k_, worker, features_, -std::numeric_limits<float>::infinity());
}

// A direction drawn uniformly: a point of the unit ball around 0.
void VirtualAdversarial::draw(const VirtualInputs& in, Index rows) {
  k_.fill(stream_, x_.data, 0, rows * x_.ld * static_cast<Index>(sizeof(float)));
  const BallRows ball{Norm::l2,      rows,          features_, direction_.data, x_.data, free_lo_.data,
                      free_hi_.data, direction_.ld, ones_};
  k_.start(stream_, {ball, Start::ball, in.ids, s_.seed, 0});
}

// x = x0 + size * direction / ||direction||; without a direction it stays.
void VirtualAdversarial::step(Index rows, const float* size, Rows lo, Rows hi, std::uint8_t* moving) {
  k_.copy_rows(stream_, rows, features_, x0_.data, x0_.ld, x_.data, x_.ld, nullptr, nullptr);
  const BallRows ball{Norm::l2, rows, features_, x_.data, x0_.data, lo.data, hi.data, x_.ld, size};
  k_.step(stream_, {ball, direction_.data, direction_.ld, size, moving});
}

void VirtualAdversarial::run(const VirtualInputs& in, Index rows, Rows x_adv) {
  k_.copy_rows(stream_, rows, features_, in.x.data, in.x.ld, x0_.data, x0_.ld, nullptr, nullptr);
  k_.limits(stream_, {rows, features_, x0_.data, x0_.ld, nullptr, in.box_lo, in.box_hi, in.mask, in.mask_ld, lo_.data,
                      hi_.data});
  k_.limits(stream_, {rows, features_, x0_.data, x0_.ld, nullptr, negative_, infinite_, in.mask, in.mask_ld,
                      free_lo_.data, free_hi_.data});
  evaluator_.probabilities(rows, x0_, p_);
  draw(in, rows);
  for (int i = 0; i < s_.iterations; ++i) {
    step(rows, xi_, free_lo_, free_hi_, nullptr);
    evaluator_.gradient(rows, x_, Loss::cross_entropy, nullptr, p_, true, direction_);
  }
  step(rows, in.radius, lo_, hi_, in.moving);
  k_.copy_rows(stream_, rows, features_, x_.data, x_.ld, x_adv.data, x_adv.ld, nullptr, nullptr);
}

}  // namespace epsball

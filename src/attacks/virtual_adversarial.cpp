// Virtual adversarial directions of one slab at a time.
#include "attacks/virtual_adversarial.h"

namespace epsball {

VirtualAdversarialSlab::VirtualAdversarialSlab(const Target& target, const VirtualAdversarialSettings& settings,
                                               Worker& worker)
    : SlabAttack(target, settings, worker),
      s_(settings),
      direction_(target, VirtualSettings{s_.steps, s_.xi, s_.seed}, worker) {}

void VirtualAdversarialSlab::attack() {
  VirtualInputs in{x0_, ids_, radius_, in_->box_lo, in_->box_hi};
  if (in_->mask) in.mask = in_->mask + first_ * in_->mask_ld;
  in.mask_ld = in_->mask_ld;
  in.moving = moving_;
  worker_.interruption.check();
  direction_.run(in, active_, x_);
  if (!s_.judge) return;
  evaluate(false);
  track(1, s_.steps + 2);
}

}  // namespace epsball

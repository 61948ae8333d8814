// What a training method trains on: parts of a batch, the losses of each, and what couples them.
#pragma once

#include <vector>

#include "attacks/pgd.h"
#include "model.h"

namespace epsball {

// Where a part's rows come from: the data as they are, what the method's inner attack makes of them, a small step up
// or down the gradient of the loss, on which piecewise linear units stay on the pieces that the clean rows, the first
// part, are on; or the centres and the radii of the boxes that an attack may move rows in, always the last two parts,
// which have no losses of their own.
enum class Source : int { clean, attacked, ascended, descended, centre, radius };

struct PartSettings {
  Source source = Source::clean;
  float weight = 1.0f;    // of the loss whose gradient is taken
  float reported = 1.0f;  // of the loss in what an epoch reports
};

// Who makes the attacked rows: the gradient loop; the virtual adversarial direction; or the gradients of the training
// steps themselves, each batch being replayed.
enum class Inner : int { loop, virtual_adversarial, replay };

// What the inner attack moves away from: the labels, the model's own predictions, or its own probabilities.
enum class Reference : int { labels, predictions, probabilities };

struct MethodSettings {
  Loss loss = Loss::cross_entropy;
  float sharpness = 1.0f;          // of the logits in the losses: 1 / temperature
  bool partly_unlabelled = false;  // a label of -1 is none: such a row's own loss is left out
  std::vector<PartSettings> parts{PartSettings{}};
  // The two parts are the halves of a batch, not the same rows twice; an odd last row is left out.
  bool paired_halves = false;
  PairLoss pair = PairLoss::none;  // of the last two parts, or of the one there is
  float pair_weight = 0.0f, coupling = 0.0f;
  // As eps ramps up, the pair's weight rises from 0 and the other losses' falls by as much (kappa of IBP).
  bool ramps_pair_weight = false;

  Inner inner = Inner::loop;
  Reference reference = Reference::labels;
  PgdSettings attack;
  double eps = 0.0;
  float step_size = 0.0f, start_radius = 0.0f;
  double lo = 0.0, hi = 0.0;
  int replays = 1;
  float finite_difference = 0.0f;  // of VAT's power iteration; of ascended and descended rows: times the gradient
  std::vector<Model*> sources;     // other models, one of which (or this one) each batch is attacked on

  bool has(Source source) const {
    for (const PartSettings& part : parts)
      if (part.source == source) return true;
    return false;
  }
  bool boxes() const { return has(Source::centre); }
  Index with_losses() const { return static_cast<Index>(parts.size()) - (boxes() ? 2 : 0); }
};

}  // namespace epsball

// From the rows of the data to those of every part.
#include "training/batch_maker.h"

#include "combine.h"

namespace epsball {

BatchMaker::BatchMaker(const Plan& plan, const Companions* companions, const Batch& batch, std::uint64_t seed,
                       Worker& worker)
    : method(batch.method), k(batch.k) {
  const bool attacks = method.has(Source::attacked), shifts = method.has(Source::ascended);
  if (method.boxes()) boxes = std::make_unique<BatchBoxes>(plan, *companions, worker);
  if (shifts || (attacks && method.reference != Reference::labels))
    evaluator = std::make_unique<Evaluator>(plan, worker);
  if (shifts) gradient = worker.arena.take_rows(worker.slab_rows, plan.features());
  if (!attacks) return;
  PgdSettings settings = method.attack;
  settings.seed = seed;
  if (method.inner == Inner::loop) attack = std::make_unique<PgdSlab>(*batch.attacked_plan, settings, worker);
  if (method.inner == Inner::replay) replay = std::make_unique<Replay>(k, plan.features(), worker);
  if (method.inner == Inner::virtual_adversarial)
    virtual_adversarial = std::make_unique<VirtualAdversarial>(
        plan, VirtualSettings{settings.steps, method.finite_difference, seed}, worker);
}

ReplayInputs BatchMaker::replayed(const Batch& b) const {
  return {b.perturbation, b.radius, b.step_size, b.box_lo, b.box_hi};
}

void BatchMaker::make(const TrainingData& data, const Batch& batch, Index first, Index rows) {
  const Index halves = method.paired_halves ? 2 : 1, d = batch.features;
  for (Index half = 0; half < halves; ++half) {
    const Index at = first + half * batch.rows;
    k.load_rows(nullptr, data.x, batch.ids + at, 0, rows, batch.rows_from(Source::clean) + at * d, d);
    if (method.has(Source::attacked)) attack_rows(batch, at, rows);
    if (boxes) boxes->make(batch, at, rows);
  }
  if (!method.has(Source::ascended)) return;
  const std::int32_t* labels = data.labels ? batch.labels + first : nullptr;
  const float* targets = batch.targets + first * batch.classes;
  evaluator->gradient(rows, {batch.rows_from(Source::clean) + first * d, d}, method.loss, labels, targets, false,
                      gradient);
  shift(batch, Source::ascended, method.finite_difference, first, rows);
  shift(batch, Source::descended, -method.finite_difference, first, rows);
}

void BatchMaker::attack_rows(const Batch& batch, Index first, Index rows) {
  const Index d = batch.features;
  const Rows x{batch.rows_from(Source::clean) + first * d, d};
  const Rows x_adv{batch.rows_from(Source::attacked) + first * d, d};
  if (method.reference == Reference::predictions) evaluator->predict(rows, x, batch.reference + first);
  if (method.reference == Reference::probabilities)
    evaluator->probabilities(rows, x, batch.reference_targets + first * batch.classes);
  if (attack) attack->run(batch.attack_in, batch.attack_out, first, rows);
  if (replay) replay->apply(replayed(batch), first, rows, x, x_adv);
  if (virtual_adversarial)
    virtual_adversarial->run({x, batch.ids + first, batch.radius + first, batch.box_lo, batch.box_hi}, rows, x_adv);
}

// x + times * gradient.
void BatchMaker::shift(const Batch& batch, Source source, float times, Index first, Index rows) const {
  const Index d = batch.features;
  const auto from = [&](Source s) { return Rows{batch.rows_from(s) + first * d, d}; };
  k.combine(nullptr, sum_of({{from(Source::clean).data, d}, {gradient.data, gradient.ld, nullptr, times}}, rows, d,
                            from(source)));
}

}  // namespace epsball

// Fast adaptive boundary attack on one slab at a time.
#include "attacks/fab.h"

#include "attacks/fab_row.h"

namespace epsball {

FabSlab::FabSlab(const Target& target, const FabSettings& settings, Worker& worker)
    : PlaneAttack(target, settings, worker, rivals_of(target, settings.rivals)), s_(settings) {
  const Index rows = worker.slab_rows;
  from_here_ = worker.arena.take_rows(rows, features_);
  from_start_ = worker.arena.take_rows(rows, features_);
  to_plane_ = worker.arena.take<float>(rows);
  back_ = worker.arena.take<float>(rows);
  here_ = worker.arena.take<float>(rows);
  start_ = worker.arena.take<float>(rows);
}

// x <- (1 - alpha) (x + eta d) + alpha (x0 + eta d0), d and d0 leading x and x0 to the plane.
void FabSlab::move(Index run) {
  s_.rivals > 0 ? find_plane(run, 1) : find_plane(0, rivals_count_);
  const auto project = [&](const Rows& x, const Rows& z, float* distance) {
    k_.hyperplane(stream(), {s_.norm, active_, features_, x.data, x_.data, normal_.data, value_, lo_.data, hi_.data,
                             x_.ld, z.data});
    k_.row_norms(stream(), {s_.norm, active_, features_, z.data, x.data, x_.ld, distance});
  };
  project(x_, from_here_, to_plane_);
  project(x0_, from_start_, back_);
  FabRows f;
  f.to_plane = to_plane_;
  f.from_start = back_;
  f.most = s_.alpha;
  f.start = start_;
  f.here = here_;
  k_.fab(stream(), active_, f);
  combine({{from_here_.data, x_.ld, here_, s_.eta},
           {x_.data, x_.ld, here_, 1.0f - s_.eta},
           {from_start_.data, x_.ld, start_, s_.eta},
           {x0_.data, x_.ld, start_, 1.0f - s_.eta}},
          x_);
}

void FabSlab::draw_back() {
  FabRows f;
  f.start = start_;
  f.here = here_;
  f.predicted = predicted_;
  f.labels = judge_;
  f.beta = s_.beta;
  k_.fab(stream(), active_, f);
  combine({{x_.data, x_.ld, here_}, {x0_.data, x0_.ld, start_}}, x_);
}

// A random point whose distance from x0 is half that of the best so far, or of the radius.
void FabSlab::start_around(Index draw) {
  k_.fab_start(stream(), active_, {slot_, out_->success + first_, best_distance_, s_.radius, start_});
  k_.start(stream(), {ball(start_), Start::sphere, ids_, s_.seed, static_cast<std::uint32_t>(draw)});
}

void FabSlab::pursue(Index run, Index restart) {
  const Index draw = run * s_.restarts + restart;
  restart == 0 ? start_at_inputs() : start_around(draw);
  for (int step = 0; step < s_.steps; ++step) {
    worker_.interruption.check();
    once(static_cast<int>(run), [&] {
      evaluate(false);
      move(run);
      evaluate(false);
      track(1 + draw * s_.steps + step, 2);
      keep_improved();
      draw_back();
    });
  }
}

void FabSlab::attack() {
  start_at_inputs();
  evaluate(false);
  track(0);
  keep_improved();
  rank_rivals();
  drop_solved();
  const Index runs = s_.rivals > 0 ? rivals_count_ : 1;
  for (Index i = 0; i < runs && active_ > 0; ++i)
    for (Index restart = 0; restart < s_.restarts; ++restart) pursue(i, restart);
}

}  // namespace epsball

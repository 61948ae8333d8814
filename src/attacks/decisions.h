// The decisions that minimum-norm and decision attacks take of each row by itself, as a table has them.
#pragma once

#include "attacks/ddn_row.h"
#include "attacks/decision_row.h"
#include "attacks/fab_row.h"
#include "attacks/fmn_row.h"
#include "attacks/newton_fool_row.h"
#include "attacks/planes_row.h"
#include "attacks/pointwise_row.h"
#include "attacks/search_row.h"
#include "attacks/tighten_row.h"
#include "kernels.h"

namespace epsball {

// Table::decide_rows<Rows> is how a table decides all rows.
template <class Table>
void add_decisions(Kernels& k) {
  k.rank_rivals = Table::template decide_rows<RankRivals>;
  k.logit_pair = Table::template decide_rows<LogitPair>;
  k.nearest_plane = Table::template decide_rows<NearestPlane>;
  k.ddn = Table::template decide_rows<DdnRows>;
  k.sphere = Table::template decide_rows<SphereRows>;
  k.fmn = Table::template decide_rows<FmnRows>;
  k.fab = Table::template decide_rows<FabRows>;
  k.fab_start = Table::template decide_rows<FabStartRows>;
  k.search = Table::template decide_rows<SearchRows>;
  k.tighten = Table::template decide_rows<TightenRows>;
  k.newton_fool = Table::template decide_rows<NewtonFoolRows>;
  k.decision_ask = Table::template decide_rows<AskRows>;
  k.decision_answer = Table::template decide_rows<AnswerRows>;
  k.decision_begin = Table::template decide_rows<BeginRows>;
  k.decision_cut = Table::template decide_rows<CutRows>;
  k.decision_nearest = Table::template decide_rows<NearestRows>;
  k.decision_sample = Table::template decide_rows<SampleRows>;
  k.decision_baseline = Table::template decide_rows<BaselineRows>;
  k.decision_leap = Table::template decide_rows<LeapRows>;
  k.decision_walk = Table::template decide_rows<WalkRows>;
  k.decision_adapt = Table::template decide_rows<AdaptRows>;
  k.pointwise = Table::template decide_rows<PointwiseRows>;
}

}  // namespace epsball

// What minimum-norm and decision attacks decide per row, each row by itself.
#include "attacks/ddn_row.h"
#include "attacks/decision_row.h"
#include "attacks/fab_row.h"
#include "attacks/fmn_row.h"
#include "attacks/newton_fool_row.h"
#include "attacks/planes_row.h"
#include "attacks/pointwise_row.h"
#include "attacks/search_row.h"
#include "attacks/tighten_row.h"
#include "table.h"

namespace epsball::EPSBALL_ISA {
namespace {

template <class Rows>
void decide_rows(Stream, Index rows, const Rows& a) {
  for (Index r = 0; r < rows; ++r) decide(a, r);
}

}  // namespace

void add_decide(Kernels& k) {
  k.rank_rivals = decide_rows<RankRivals>;
  k.logit_pair = decide_rows<LogitPair>;
  k.nearest_plane = decide_rows<NearestPlane>;
  k.ddn = decide_rows<DdnRows>;
  k.sphere = decide_rows<SphereRows>;
  k.fmn = decide_rows<FmnRows>;
  k.fab = decide_rows<FabRows>;
  k.fab_start = decide_rows<FabStartRows>;
  k.search = decide_rows<SearchRows>;
  k.tighten = decide_rows<TightenRows>;
  k.newton_fool = decide_rows<NewtonFoolRows>;
  k.decision_ask = decide_rows<AskRows>;
  k.decision_answer = decide_rows<AnswerRows>;
  k.decision_begin = decide_rows<BeginRows>;
  k.decision_cut = decide_rows<CutRows>;
  k.decision_nearest = decide_rows<NearestRows>;
  k.decision_sample = decide_rows<SampleRows>;
  k.decision_baseline = decide_rows<BaselineRows>;
  k.decision_leap = decide_rows<LeapRows>;
  k.decision_walk = decide_rows<WalkRows>;
  k.decision_adapt = decide_rows<AdaptRows>;
  k.pointwise = decide_rows<PointwiseRows>;
}

}  // namespace epsball::EPSBALL_ISA

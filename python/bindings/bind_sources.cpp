// Label sources: trees and nearest neighbours.
#include "arrays.h"
#include "bind.h"
#include "dispatch.h"
#include "sources/knn.h"
#include "sources/trees.h"

namespace epsball::bindings {
namespace {

template <class T>
using In = py::array_t<T, py::array::c_style | py::array::forcecast>;

inline constexpr Named<TreeDecision> kDecisions[] = {{"largest", TreeDecision::largest},
                                                     {"positive", TreeDecision::positive},
                                                     {"not_negative", TreeDecision::not_negative}};

template <class T>
std::vector<T> vector_of(const In<T>& a) {
  return {a.data(), a.data() + a.size()};
}

// A child stands after its parent, so that every descent ends; leaves have the feature -1.
void check_nodes(const Trees& t) {
  const auto count = static_cast<std::int32_t>(t.nodes.size());
  for (std::int32_t i = 0; i < count; ++i) {
    const TreeNode& n = t.nodes[static_cast<std::size_t>(i)];
    if (n.feature < 0) continue;
    if (n.feature >= t.features)
      throw py::value_error("trees: node " + std::to_string(i) + " splits feature " + std::to_string(n.feature) +
                            ", wanted features from 0 to " + std::to_string(t.features - 1));
    if (n.left <= i || n.right <= i || n.left >= count || n.right >= count)
      throw py::value_error("trees: node " + std::to_string(i) + " has children " + std::to_string(n.left) + " and " +
                            std::to_string(n.right) + ", wanted nodes that stand after it");
  }
}

std::unique_ptr<Trees> trees_of(const In<std::int32_t>& feature, const In<double>& threshold,
                                const In<std::int32_t>& left, const In<std::int32_t>& right, const In<double>& values,
                                const In<std::int32_t>& roots, const In<std::int32_t>& column, const In<double>& start,
                                Index features, double scale, double divisor, bool rounds_inputs,
                                const std::string& decision) {
  auto t = std::make_unique<Trees>();
  t->features = features;
  t->columns = start.size();
  t->width = values.shape(1);
  for (py::ssize_t i = 0; i < feature.size(); ++i)
    t->nodes.push_back({feature.data()[i], left.data()[i], right.data()[i], threshold.data()[i]});
  t->values = vector_of(values);
  t->roots = vector_of(roots);
  t->column = vector_of(column);
  t->start = vector_of(start);
  t->scale = scale;
  t->divisor = divisor;
  t->rounds_inputs = rounds_inputs;
  t->decision = by_name(kDecisions, "decision", decision);
  check_nodes(*t);
  return t;
}

std::unique_ptr<Knn> knn_of(const In<double>& points, const In<std::int64_t>& labels, Index classes, Index k,
                            bool by_distance) {
  return std::make_unique<Knn>(host_table(), points.data(), labels.data(), points.shape(0), points.shape(1), classes, k,
                               by_distance);
}

template <class Source>
py::array_t<std::int64_t> predict(const Source& source, const py::array& x, Index features) {
  const RowsIn in = rows_in(x, "x", features);
  check_finite(in.view, "x");
  auto y = new_array<std::int64_t>({in.view.rows});
  std::int64_t* out = y.mutable_data();
  without_gil([&](Interruption& i) { source.predict(in.view, out, i); });
  return y;
}

}  // namespace

void bind_sources(py::module_& m) {
  py::class_<Trees>(m, "Trees", "Decision trees and sums of them; the arrays' sizes are checked by their caller.")
      .def(py::init(&trees_of), py::arg("feature"), py::arg("threshold"), py::arg("left"), py::arg("right"),
           py::arg("values"), py::arg("roots"), py::arg("column"), py::arg("start"), py::arg("features"),
           py::arg("scale"), py::arg("divisor"), py::arg("rounds_inputs"), py::arg("decision"))
      .def(
          "predict", [](const Trees& t, const py::array& x) { return predict(t, x, t.features); }, py::arg("x"),
          "Predicted classes (N,).");
  py::class_<Knn>(m, "Knn", "Nearest neighbours; the arrays' sizes are checked by their caller.")
      .def(py::init(&knn_of), py::arg("points"), py::arg("labels"), py::arg("classes"), py::arg("k"),
           py::arg("by_distance"))
      .def(
          "predict", [](const Knn& k, const py::array& x) { return predict(k, x, k.features()); }, py::arg("x"),
          "Predicted classes (N,).");
}

}  // namespace epsball::bindings

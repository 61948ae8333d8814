// Models outside the engine: their calls are Python functions, and only these take the GIL.
#include <numeric>

#include "arrays.h"
#include "bind.h"
#include "bind_calls.h"
#include "dispatch.h"

namespace epsball::bindings {
namespace {

// (rows, ...) in memory of its own, so that whoever is given it may keep it or write to it.
py::array_t<float> copy_of_rows(Index rows, const std::vector<py::ssize_t>& shape, const float* values) {
  std::vector<py::ssize_t> all{rows};
  all.insert(all.end(), shape.begin(), shape.end());
  py::array_t<float> a(all);
  std::copy_n(values, a.size(), a.mutable_data());
  return a;
}

void copy_in(const py::handle& result, const char* what, Index count, float* to) {
  const auto a = result.cast<py::array_t<float, py::array::c_style>>();
  if (a.size() != count)
    throw py::value_error("model: wanted " + std::to_string(count) + " floats of " + what + ", got " +
                          std::to_string(a.size()));
  std::copy_n(a.data(), count, to);
}

// forward(x) returns (logits, pull) and pull(dlogits) dx, all of them checked float32 arrays.
class PythonCalls : public ForeignCalls {
 public:
  PythonCalls(const py::function& forward, const std::vector<py::ssize_t>& shape, Index classes)
      : forward_(forward), shape_(shape), classes_(classes), features_(product(shape)) {}
  ~PythonCalls() override {
    const py::gil_scoped_acquire gil;
    const py::error_scope interrupted;  // what pull_ holds may be freed while an exception is on its way
    pull_ = py::object();
  }

  void forward(Index rows, const float* x, float* logits) override {
    const py::gil_scoped_acquire gil;
    pull_ = py::object();  // frees what the last forward kept before the next one needs as much
    const auto result = forward_(copy_of_rows(rows, shape_, x)).cast<py::tuple>();
    copy_in(result[0], "logits", rows * classes_, logits);
    pull_ = result[1];
  }

  void backward(Index rows, const float* dlogits, float* dx) override {
    const py::gil_scoped_acquire gil;
    copy_in(pull_(copy_of_rows(rows, {classes_}, dlogits)), "a gradient", rows * features_, dx);
  }

  static Index product(const std::vector<py::ssize_t>& shape) {
    return std::accumulate(shape.begin(), shape.end(), Index{1}, std::multiplies<>());
  }

 private:
  const py::function& forward_;  // belongs to the model, which outlives the call
  const std::vector<py::ssize_t>& shape_;
  py::object pull_;
  const Index classes_, features_;
};

// The Foreign model and what its calls refer to.
struct PythonModel {
  py::function forward;
  std::vector<py::ssize_t> shape;
};

class ForeignModel : private PythonModel, public Foreign {
 public:
  ForeignModel(py::function function, std::vector<py::ssize_t> input_shape, Index classes, Index batch_size)
      : PythonModel{std::move(function), std::move(input_shape)},
        Foreign(host_table(), PythonCalls::product(shape), classes, batch_size,
                [this, classes] { return std::make_unique<PythonCalls>(forward, shape, classes); }) {}
};

}  // namespace

void bind_foreign(py::module_& m) {
  py::class_<Foreign> foreign(m, "Foreign", "A model outside the engine, for the length of a call.");
  bind_calls(foreign);
  foreign
      .def(py::init([](py::function forward, std::vector<py::ssize_t> shape, Index classes,
                       Index batch_size) -> std::unique_ptr<Foreign> {
             return std::make_unique<ForeignModel>(std::move(forward), std::move(shape), classes, batch_size);
           }),
           py::arg("forward"), py::arg("shape"), py::arg("classes"), py::arg("batch_size"),
           "forward(x (rows, *shape)) returns (logits, pull), and pull(dlogits) the gradient (rows, *shape).")
      .def_property_readonly("features", &Foreign::features)
      .def_property_readonly("classes", &Foreign::classes);
}

}  // namespace epsball::bindings

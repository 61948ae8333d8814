// A model: layers with their parameters, and its plan for the table in force.
#pragma once

#include <map>
#include <mutex>

#include "plan.h"

namespace epsball {

using ParameterValues = std::vector<std::vector<float>>;

class Model {
 public:
  // Layers in an order in which each reads only those before it; one that does not say what it reads takes the output
  // of the layer before it.
  explicit Model(Layers layers);

  Index features() const { return layers_.front()->in; }
  Index classes() const { return layers_.back()->out; }
  const Layers& layers() const { return layers_; }

  // Calls are computed on this table from now on; null: on the one in force.
  void place(const Kernels* table) { table_ = table; }
  const Kernels& table() const;

  // The plan for the model's table, made at first use and again after changed().
  std::shared_ptr<Plan> plan();
  std::shared_ptr<Plan> plan(const Kernels& table);
  // The same, with what training passes read beside.
  std::shared_ptr<Plan> training_plan();
  std::shared_ptr<Plan> training_plan(const Kernels& table);
  void changed();

  // All parameters' values in layer order, copied out and in under one lock: no reader sees half a load. Refused, like
  // calls, while the model is trained. The next call packs them; calls under way keep the weights they began with.
  ParameterValues values();
  void load(const std::vector<const float*>& values);

  ArenaPool& arenas() { return arenas_; }

  // While it is trained, the model is closed to every call but those that the trainer itself admits on its thread: an
  // error, not a wrong answer.
  void close();
  void open();
  void admit(bool on);
  void check_open() const;

 private:
  std::vector<Parameter*> parameters();
  std::shared_ptr<Plan> locked_plan(const Kernels& table);

  struct Held {
    std::shared_ptr<Plan> plan;
    bool stale = false;  // packed from parameters that have changed since
  };

  Layers layers_;
  std::atomic<const Kernels*> table_{nullptr};
  std::mutex mutex_;
  std::map<const Kernels*, Held> plans_;
  ArenaPool arenas_;
  std::atomic<bool> closed_{false};
  std::atomic<std::thread::id> admitted_{};
};

}  // namespace epsball

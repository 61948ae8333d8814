// A model: layers with their parameters, and its plan for the table in force.
#pragma once

#include <map>
#include <mutex>

#include "plan.h"

namespace epsball {

class Model {
 public:
  explicit Model(Layers layers);

  Index features() const { return layers_.front()->in; }
  Index classes() const { return layers_.back()->out; }
  const Layers& layers() const { return layers_; }

  // The plan for the table in force, made at first use and again after changed().
  std::shared_ptr<Plan> plan();
  void changed();
  ArenaPool& arenas() { return arenas_; }

  // A call during fit is an error, not a wrong answer.
  bool in_training() const { return in_training_; }
  void set_in_training(bool on) { in_training_ = on; }

 private:
  Layers layers_;
  std::mutex mutex_;
  std::map<const Kernels*, std::shared_ptr<Plan>> plans_;
  ArenaPool arenas_;
  std::atomic<bool> in_training_{false};
};

}  // namespace epsball

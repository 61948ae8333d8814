// Recordings are forgotten when the device is through with them.
#include "recording.h"

#include <exception>
#include <utility>

namespace epsball {

void Recording::clear() {
  void* const noted = std::exchange(noted_, nullptr);
  if (!noted) return;
  try {
    device_->finish(stream_);
  } catch (const std::exception&) {  // the call that waits for its results will meet it again
  }
  device_->forget(noted);
}

}  // namespace epsball

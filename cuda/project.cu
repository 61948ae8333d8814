// Projections onto norm balls, a block per row; mirrors cpp/project.cpp.
#include "launch.cuh"

#include "project.cuh"
#include "table.cuh"

namespace epsball::cuda {
namespace {

// ---- kernels ----

__global__ void project_kernel(BallRows b, const std::int32_t* active) {
  for_rows(rows_now(b.rows, active), [&](Index r) { project_row(b.norm, row_of(b, r), b.eps[r]); });
}

// ---- what the table calls ----

void project(Stream stream, const BallRows& b) {
  const DeviceStream s = device_stream(stream);
  launch(project_kernel, rows_grid(b.rows), kRowThreads, 0, s, b, s.active);
}

}  // namespace

void add_project(Kernels& k) { k.project = project; }

}  // namespace epsball::cuda

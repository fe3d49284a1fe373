// Causal attention of a training step as one call each way: what a product of queries, keys and values gives is rotated,
// attended and mixed head by head, and nothing T x T ever leaves the cache. Gradients compute the scores anew.
//
// Layout as the products around it have it, so that nothing is laid out anew: qkv [B, T, 3HK], of each head the first
// members of its rotated pairs before the second ones; mixed [B, T, HK]. Kept for the gradient: log_z [B, H, T].
// One thread; T is a multiple of 32, K of the vector width; as many key-value heads as queries.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace {

// Width of a vector, and rows and vectors of a tile: its sums fill the registers.
#if defined(__AVX512F__)
constexpr int W = 16, ROWS = 8, VECTORS = 3;
#elif defined(__AVX__)
constexpr int W = 8, ROWS = 4, VECTORS = 3;
#else
constexpr int W = 4, ROWS = 4, VECTORS = 4;
#endif
constexpr int QUERIES = 32;  // a block of them sees the keys up to its end

typedef float Vector __attribute__((vector_size(W * 4), aligned(4)));
typedef int32_t Integers __attribute__((vector_size(W * 4), aligned(4)));

inline Vector load(const float* p) { return *reinterpret_cast<const Vector*>(p); }
inline void store(float* p, Vector v) { *reinterpret_cast<Vector*>(p) = v; }
inline Vector larger(Vector a, Vector b) { return a > b ? a : b; }

template <class Join>
inline float joined(Vector v, Join join) {
  float part[W];
  store(part, v);
  for (int half = W / 2; half; half /= 2)
    for (int j = 0; j < half; ++j) part[j] = join(part[j], part[j + half]);
  return part[0];
}
inline float sum(Vector v) {
  return joined(v, [](float a, float b) { return a + b; });
}

// e^x for x <= 0: 2^n from the exponent's bits, the rest by the polynomial of Cephes (expf, 2 units in the last place).
inline Vector exponential(Vector x) {
  x = larger(x, Vector{} - 87.0f);
  const Vector to_whole = Vector{} + 12582912.0f;  // 1.5 * 2^23: adding it leaves the whole part in the lowest bits
  Vector n = x * 1.44269504f + to_whole;
  Integers power = (Integers)n << 23;
  n -= to_whole;
  x = x - n * 0.693359375f + n * 2.12194440e-4f;
  Vector p = x * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * x + 8.3334519073e-3f;
  p = p * x + 4.1665795894e-2f;
  p = p * x + 1.6666665459e-1f;
  p = p * x + 5.0000001201e-1f;
  return (Vector)((Integers)(p * x * x + x + 1.0f) + power);
}

// A matrix whose element (i, k) lies at data[i * row + k * column]: transposed by exchanging the two.
struct Left {
  const float* data;
  int row, column;
};

// c[ROWS, V vectors] = or += a @ b over n terms.
template <int V, bool ADD>
inline void tile(int n, Left a, const float* b, int b_row, float* c, int c_row) {
  Vector total[ROWS][V];
#pragma GCC unroll 8
  for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < V; ++j) total[i][j] = ADD ? load(c + i * c_row + j * W) : Vector{};
  for (int k = 0; k < n; ++k) {
    Vector right[V];
#pragma GCC unroll 4
    for (int j = 0; j < V; ++j) right[j] = load(b + k * b_row + j * W);
#pragma GCC unroll 8
    for (int i = 0; i < ROWS; ++i) {
      const float left = a.data[i * a.row + k * a.column];
#pragma GCC unroll 4
      for (int j = 0; j < V; ++j) total[i][j] += left * right[j];
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < V; ++j) store(c + i * c_row + j * W, total[i][j]);
}

// c[rows, columns] = or += a[rows, n] @ b[n, columns].
template <bool ADD>
void product(int rows, int n, int columns, Left a, const float* b, int b_row, float* c, int c_row) {
  for (int i = 0; i < rows; i += ROWS, a.data += ROWS * a.row, c += ROWS * c_row) {
    int j = 0;
    for (; j + VECTORS * W <= columns; j += VECTORS * W) tile<VECTORS, ADD>(n, a, b + j, b_row, c + j, c_row);
    for (; j + 2 * W <= columns; j += 2 * W) tile<2, ADD>(n, a, b + j, b_row, c + j, c_row);
    for (; j < columns; j += W) tile<1, ADD>(n, a, b + j, b_row, c + j, c_row);
  }
}

// Positions, width of a head, and floats from one position to the next in qkv and in what is mixed.
struct Shape {
  int t, k, qkv_row, mixed_row;
};
struct Angles {
  const float *cosine, *sine;
};

// A head's columns of all positions times a factor; rotated by its positions' angles where there are any (sign -1: back).
void move(const Shape& s, const float* x, int x_row, float* y, int y_row, float factor, const Angles* angles, float sign) {
  const int half = s.k / 2;
  for (int t = 0; t < s.t; ++t, x += x_row, y += y_row) {
    if (!angles) {
      for (int c = 0; c < s.k; ++c) y[c] = factor * x[c];
      continue;
    }
    const float *cosine = angles->cosine + t * half, *sine = angles->sine + t * half;
    for (int c = 0; c < half; ++c) {
      const float u = factor * cosine[c], v = factor * sign * sine[c];
      y[c] = x[c] * u - x[c + half] * v;
      y[c + half] = x[c] * v + x[c + half] * u;
    }
  }
}

void transpose(const Shape& s, const float* x, float* y) {
  for (int from = 0; from < s.t; from += QUERIES)
    for (int c = 0; c < s.k; ++c)
      for (int t = from; t < from + QUERIES; ++t) y[c * s.t + t] = x[t * s.k + c];
}

// Room for n arrays [T, K] and two of scores, kept by the thread.
float* room(const Shape& s, int n) {
  thread_local std::vector<float> memory;
  memory.resize(std::max<size_t>(memory.size(), size_t(n) * s.t * s.k + 2 * QUERIES * s.t));
  return memory.data();
}

void forward(const Shape& s, const Angles& angles, const float* qkv, float* mixed, float* log_z) {
  const int size = s.t * s.k, heads = s.mixed_row;
  float *q = room(s, 5), *k = q + size, *k_turned = k + size, *v = k_turned + size, *block = v + size, *e = block + size;
  move(s, qkv, s.qkv_row, q, s.k, 1 / std::sqrt(float(s.k)), &angles, 1);
  move(s, qkv + heads, s.qkv_row, k, s.k, 1, &angles, 1);
  move(s, qkv + 2 * heads, s.qkv_row, v, s.k, 1, nullptr, 1);
  transpose(s, k, k_turned);
  for (int start = 0; start < s.t; start += QUERIES) {
    const int stop = start + QUERIES;
    product<false>(QUERIES, s.k, stop, {q + start * s.k, s.k, 1}, k_turned, s.t, e, s.t);
    float scale[QUERIES];
    for (int i = 0; i < QUERIES; ++i) {
      float* row = e + i * s.t;
      std::fill(row + start + i + 1, row + stop, -std::numeric_limits<float>::infinity());
      Vector top = load(row), z{};
      for (int j = W; j < stop; j += W) top = larger(top, load(row + j));
      const float most = joined(top, [](float a, float b) { return a > b ? a : b; });
      for (int j = 0; j < stop; j += W) {
        const Vector each = exponential(load(row + j) - most);
        store(row + j, each);
        z += each;
      }
      std::fill(row + start + i + 1, row + stop, 0.0f);
      scale[i] = 1 / sum(z);
      log_z[start + i] = most - std::log(scale[i]);
    }
    product<false>(QUERIES, stop, s.k, {e, s.t, 1}, v, s.k, block, s.k);
    for (int i = 0; i < QUERIES; ++i)
      for (int c = 0; c < s.k; ++c) mixed[int64_t(start + i) * s.mixed_row + c] = scale[i] * block[i * s.k + c];
  }
}

// With p = softmax: dp = dmixed @ v', ds = p (dp - sum dmixed mixed), dq = ds @ k, dk = ds' @ q, dv = p' @ dmixed.
void backward(const Shape& s, const Angles& angles, const float* qkv, const float* mixed, const float* log_z,
              const float* dmixed, float* dqkv) {
  const int size = s.t * s.k, heads = s.mixed_row;
  const float root = 1 / std::sqrt(float(s.k));
  float *q = room(s, 9), *k = q + size, *k_turned = k + size, *v = k_turned + size, *v_turned = v + size;
  float *d = v_turned + size, *dq = d + size, *dk = dq + size, *dv = dk + size, *p = dv + size, *ds = p + QUERIES * s.t;
  move(s, qkv, s.qkv_row, q, s.k, root, &angles, 1);
  move(s, qkv + heads, s.qkv_row, k, s.k, 1, &angles, 1);
  move(s, qkv + 2 * heads, s.qkv_row, v, s.k, 1, nullptr, 1);
  move(s, dmixed, s.mixed_row, d, s.k, 1, nullptr, 1);
  transpose(s, k, k_turned);
  transpose(s, v, v_turned);
  std::fill(dk, dk + 2 * size, 0.0f);
  for (int start = 0; start < s.t; start += QUERIES) {
    const int stop = start + QUERIES;
    const float *d_block = d + start * s.k, *q_block = q + start * s.k;
    product<false>(QUERIES, s.k, stop, {q_block, s.k, 1}, k_turned, s.t, p, s.t);
    product<false>(QUERIES, s.k, stop, {d_block, s.k, 1}, v_turned, s.t, ds, s.t);
    for (int i = 0; i < QUERIES; ++i) {
      const float *own = d_block + i * s.k, *out = mixed + int64_t(start + i) * s.mixed_row;
      Vector both{};
      for (int c = 0; c < s.k; c += W) both += load(own + c) * load(out + c);
      const float mean = sum(both);
      float *p_row = p + i * s.t, *ds_row = ds + i * s.t;
      for (int j = 0; j < stop; j += W) {
        const Vector x = load(p_row + j) - log_z[start + i];
        const Vector each = exponential(x > 0.0f ? Vector{} : x);  // masked scores may be anything
        store(p_row + j, each);
        store(ds_row + j, each * (load(ds_row + j) - mean));
      }
      std::fill(p_row + start + i + 1, p_row + stop, 0.0f);
      std::fill(ds_row + start + i + 1, ds_row + stop, 0.0f);
    }
    product<false>(QUERIES, stop, s.k, {ds, s.t, 1}, k, s.k, dq + start * s.k, s.k);
    product<true>(stop, QUERIES, s.k, {ds, 1, s.t}, q_block, s.k, dk, s.k);
    product<true>(stop, QUERIES, s.k, {p, 1, s.t}, d_block, s.k, dv, s.k);
  }
  move(s, dq, s.k, dqkv, s.qkv_row, root, &angles, -1);
  move(s, dk, s.k, dqkv + heads, s.qkv_row, 1, &angles, -1);
  move(s, dv, s.k, dqkv + 2 * heads, s.qkv_row, 1, nullptr, 1);
}

using Array = ffi::Buffer<ffi::F32>;
using Result = ffi::Result<Array>;

// Calls one(shape, offset in qkv, in mixed, in log_z) for each head of each sequence.
template <class One>
void each_head(ffi::Span<const int64_t> bht, int64_t half, One one) {
  const int64_t h = bht[1], t = bht[2], k = 2 * half;
  const Shape shape{int(t), int(k), int(3 * h * k), int(h * k)};
  for (int64_t b = 0; b < bht[0]; ++b)
    for (int64_t i = 0; i < h; ++i) one(shape, b * t * 3 * h * k + i * k, b * t * h * k + i * k, (b * h + i) * t);
}

ffi::Error Forward(Array qkv, Array cosine, Array sine, Result mixed, Result log_z) {
  const Angles angles{cosine.typed_data(), sine.typed_data()};
  each_head(log_z->dimensions(), cosine.dimensions()[1], [&](const Shape& s, int64_t x, int64_t y, int64_t z) {
    forward(s, angles, qkv.typed_data() + x, mixed->typed_data() + y, log_z->typed_data() + z);
  });
  return ffi::Error::Success();
}

ffi::Error Backward(Array qkv, Array cosine, Array sine, Array mixed, Array log_z, Array dmixed, Result dqkv) {
  const Angles angles{cosine.typed_data(), sine.typed_data()};
  each_head(log_z.dimensions(), cosine.dimensions()[1], [&](const Shape& s, int64_t x, int64_t y, int64_t z) {
    backward(s, angles, qkv.typed_data() + x, mixed.typed_data() + y, log_z.typed_data() + z, dmixed.typed_data() + y,
             dqkv->typed_data() + x);
  });
  return ffi::Error::Success();
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(attention, Forward,
                              ffi::Ffi::Bind().Arg<Array>().Arg<Array>().Arg<Array>().Ret<Array>().Ret<Array>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(
    attention_gradient, Backward,
    ffi::Ffi::Bind().Arg<Array>().Arg<Array>().Arg<Array>().Arg<Array>().Arg<Array>().Arg<Array>().Ret<Array>());

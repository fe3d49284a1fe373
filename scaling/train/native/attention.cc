// Causal attention of a training step as one call each way: the product of queries, keys and values is rotated,
// attended and mixed head by head, and nothing T x T ever leaves the cache. Gradients compute the scores anew.
//
// Layout as the products around it have it, so that nothing is laid out anew: qkv [B, T, (H + 2J)K], of each query and
// key the first members of its rotated pairs before the second ones; mixed [B, T, HK]. Kept for the gradient: log_z
// [B, H, T]. H/J queries share a key-value head. K is a multiple of 16; any T, padded inside.
//
// Each key-value head of a sequence is one thread's: results do not depend on how many threads there are.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "threads.h"

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
constexpr int PADDED = 16;   // to a multiple of this many positions: of W, and of ROWS
constexpr int LINE = 16;     // floats of a cache line
constexpr int AHEAD = 8;     // positions that are fetched before they are read

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
// NaN stays NaN, so that a training that diverges is seen to.
inline Vector exponential(Vector given) {
  Vector x = larger(given, Vector{} - 87.0f);
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
  const Vector found = (Vector)((Integers)(p * x * x + x + 1.0f) + power);
  return given == given ? found : given;
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

// Positions, those with padding, width of a head, heads; floats from one position to the next in qkv and in mixed.
struct Shape {
  int t, padded, k, heads, kv_heads;
  int64_t qkv_row, mixed_row;
  int size() const { return padded * k; }
};
struct Angles {
  const float *cosine, *sine;
};

// A head's columns of all positions times a factor; rotated by their positions' angles where given (sign -1: back).
void move(const Shape& s, const float* __restrict x, int64_t x_row, float* __restrict y, int64_t y_row, float factor,
          const Angles* angles, float sign) {
  const int half = s.k / 2;
  for (int t = 0; t < s.t; ++t, x += x_row, y += y_row) {
    // Positions lie kilobytes apart, where processors do not look ahead by themselves.
    for (int c = 0; c < s.k; c += LINE) __builtin_prefetch(x + AHEAD * x_row + c);
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

// The same into an array [padded, K] of the thread's, zero beyond the last position.
void take(const Shape& s, const float* x, int64_t x_row, float* y, float factor = 1, const Angles* angles = nullptr) {
  move(s, x, x_row, y, s.k, factor, angles, 1);
  std::fill(y + s.t * s.k, y + s.size(), 0.0f);
}

void transpose(const Shape& s, const float* x, float* y) {
  for (int from = 0; from < s.padded; from += PADDED)
    for (int c = 0; c < s.k; ++c)
      for (int t = from; t < from + PADDED; ++t) y[c * s.padded + t] = x[t * s.k + c];
}

// Room for n arrays [padded, K] and two of scores, kept by the thread.
float* room(const Shape& s, int n) {
  thread_local std::vector<float> memory;
  memory.resize(std::max<size_t>(memory.size(), size_t(n) * s.size() + 2 * QUERIES * s.padded));
  return memory.data();
}

// What the queries of one key-value head mix. Pointers are to the sequence's first position.
void forward(const Shape& s, int j, const Angles& angles, const float* qkv, float* mixed, float* log_z) {
  float *q = room(s, 5), *k = q + s.size(), *k_turned = k + s.size(), *v = k_turned + s.size(), *block = v + s.size();
  float* e = block + s.size();
  take(s, qkv + (s.heads + j) * s.k, s.qkv_row, k, 1, &angles);
  take(s, qkv + (s.heads + s.kv_heads + j) * s.k, s.qkv_row, v);
  transpose(s, k, k_turned);
  const int shared = s.heads / s.kv_heads;
  for (int head = j * shared; head < (j + 1) * shared; ++head) {
    take(s, qkv + head * s.k, s.qkv_row, q, 1 / std::sqrt(float(s.k)), &angles);
    for (int start = 0; start < s.padded; start += QUERIES) {
      const int stop = std::min(start + QUERIES, s.padded), real = std::min(stop, s.t) - start;
      product<false>(stop - start, s.k, stop, {q + start * s.k, s.k, 1}, k_turned, s.padded, e, s.padded);
      float scale[QUERIES];
      for (int i = 0; i < real; ++i) {
        float* row = e + i * s.padded;
        std::fill(row + start + i + 1, row + stop, -std::numeric_limits<float>::infinity());
        Vector top = load(row), z{};
        for (int c = W; c < stop; c += W) top = larger(top, load(row + c));
        const float most = joined(top, [](float a, float b) { return a > b ? a : b; });
        for (int c = 0; c < stop; c += W) {
          const Vector each = exponential(load(row + c) - most);
          store(row + c, each);
          z += each;
        }
        std::fill(row + start + i + 1, row + stop, 0.0f);
        scale[i] = 1 / sum(z);
        log_z[int64_t(head) * s.t + start + i] = most - std::log(scale[i]);
      }
      product<false>(stop - start, stop, s.k, {e, s.padded, 1}, v, s.k, block, s.k);
      for (int i = 0; i < real; ++i)
        for (int c = 0; c < s.k; ++c)
          mixed[(start + i) * s.mixed_row + head * s.k + c] = scale[i] * block[i * s.k + c];
    }
  }
}

// With p = softmax: dp = dmixed @ v', ds = p (dp - sum dmixed mixed), dq = ds @ k, dk = ds' @ q, dv = p' @ dmixed.
void backward(const Shape& s, int j, const Angles& angles, const float* qkv, const float* mixed, const float* log_z,
              const float* dmixed, float* dqkv) {
  const float root = 1 / std::sqrt(float(s.k));
  float *q = room(s, 10), *k = q + s.size(), *k_turned = k + s.size(), *v = k_turned + s.size();
  float *v_turned = v + s.size(), *d = v_turned + s.size(), *dq = d + s.size(), *dk = dq + s.size();
  float *dv = dk + s.size(), *out = dv + s.size(), *p = out + s.size(), *ds = p + QUERIES * s.padded;
  const int k_at = (s.heads + j) * s.k, v_at = (s.heads + s.kv_heads + j) * s.k, shared = s.heads / s.kv_heads;
  take(s, qkv + k_at, s.qkv_row, k, 1, &angles);
  take(s, qkv + v_at, s.qkv_row, v);
  transpose(s, k, k_turned);
  transpose(s, v, v_turned);
  std::fill(dk, dk + 2 * s.size(), 0.0f);
  for (int head = j * shared; head < (j + 1) * shared; ++head) {
    take(s, qkv + head * s.k, s.qkv_row, q, root, &angles);
    take(s, dmixed + head * s.k, s.mixed_row, d);
    take(s, mixed + head * s.k, s.mixed_row, out);
    for (int start = 0; start < s.padded; start += QUERIES) {
      const int stop = std::min(start + QUERIES, s.padded), rows = stop - start, real = std::min(stop, s.t) - start;
      const float *d_block = d + start * s.k, *q_block = q + start * s.k;
      product<false>(rows, s.k, stop, {q_block, s.k, 1}, k_turned, s.padded, p, s.padded);
      product<false>(rows, s.k, stop, {d_block, s.k, 1}, v_turned, s.padded, ds, s.padded);
      for (int i = 0; i < rows; ++i) {
        float *p_row = p + i * s.padded, *ds_row = ds + i * s.padded;
        if (i >= real) {
          std::fill(p_row, p_row + stop, 0.0f);
          std::fill(ds_row, ds_row + stop, 0.0f);
          continue;
        }
        const float *own = d_block + i * s.k, *own_out = out + (start + i) * s.k;
        Vector both{};
        for (int c = 0; c < s.k; c += W) both += load(own + c) * load(own_out + c);
        const float mean = sum(both), own_log_z = log_z[int64_t(head) * s.t + start + i];
        for (int c = 0; c < stop; c += W) {
          const Vector x = load(p_row + c) - own_log_z;
          const Vector each = exponential(x > 0.0f ? Vector{} : x);  // masked scores may be anything
          store(p_row + c, each);
          store(ds_row + c, each * (load(ds_row + c) - mean));
        }
        std::fill(p_row + start + i + 1, p_row + stop, 0.0f);
        std::fill(ds_row + start + i + 1, ds_row + stop, 0.0f);
      }
      product<false>(rows, stop, s.k, {ds, s.padded, 1}, k, s.k, dq + start * s.k, s.k);
      product<true>(stop, rows, s.k, {ds, 1, s.padded}, q_block, s.k, dk, s.k);
      product<true>(stop, rows, s.k, {p, 1, s.padded}, d_block, s.k, dv, s.k);
    }
    move(s, dq, s.k, dqkv + head * s.k, s.qkv_row, root, &angles, -1);
  }
  move(s, dk, s.k, dqkv + k_at, s.qkv_row, 1, &angles, -1);
  move(s, dv, s.k, dqkv + v_at, s.qkv_row, 1, nullptr, 1);
}

using Array = ffi::Buffer<ffi::F32>;
using Result = ffi::Result<Array>;

// Calls one(shape, j, offset of the sequence in qkv, in mixed, in log_z) for each key-value head of each sequence. Axes
// before [B, H, T] and [T, K/2] are those of vmap, which are sequences too, and angles that repeat.
template <class One>
void each_head(ffi::ThreadPool& pool, const Array& log_z, const Array& cosine, int64_t kv_heads, const One& one) {
  const auto bht = log_z.dimensions();
  const int64_t t = bht.back(), h = bht[bht.size() - 2], k = 2 * cosine.dimensions().back();
  const int64_t padded = (t + PADDED - 1) / PADDED * PADDED, sequences = t ? log_z.element_count() / (h * t) : 0;
  const Shape shape{int(t), int(padded), int(k), int(h), int(kv_heads), (h + 2 * kv_heads) * k, h * k};
  share_out(pool, sequences * kv_heads, [&](int64_t i) {
    const int64_t b = i / kv_heads;
    one(shape, int(i % kv_heads), b * t * shape.qkv_row, b * t * shape.mixed_row, b * h * t);
  });
}

ffi::Error Forward(ffi::ThreadPool pool, Array qkv, Array cosine, Array sine, Result mixed, Result log_z,
                   int64_t n_kv_heads) {
  const Angles angles{cosine.typed_data(), sine.typed_data()};
  each_head(pool, *log_z, cosine, n_kv_heads, [&](const Shape& s, int j, int64_t x, int64_t y, int64_t z) {
    forward(s, j, angles, qkv.typed_data() + x, mixed->typed_data() + y, log_z->typed_data() + z);
  });
  return ffi::Error::Success();
}

ffi::Error Backward(ffi::ThreadPool pool, Array qkv, Array cosine, Array sine, Array mixed, Array log_z, Array dmixed,
                    Result dqkv, int64_t n_kv_heads) {
  const Angles angles{cosine.typed_data(), sine.typed_data()};
  each_head(pool, log_z, cosine, n_kv_heads, [&](const Shape& s, int j, int64_t x, int64_t y, int64_t z) {
    backward(s, j, angles, qkv.typed_data() + x, mixed.typed_data() + y, log_z.typed_data() + z,
             dmixed.typed_data() + y, dqkv->typed_data() + x);
  });
  return ffi::Error::Success();
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(attention, Forward,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Array>()  // qkv
                                  .Arg<Array>()  // cosine
                                  .Arg<Array>()  // sine
                                  .Ret<Array>()  // mixed
                                  .Ret<Array>()  // log_z
                                  .Attr<int64_t>("n_kv_heads"));
XLA_FFI_DEFINE_HANDLER_SYMBOL(attention_gradient, Backward,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Array>()  // qkv
                                  .Arg<Array>()  // cosine
                                  .Arg<Array>()  // sine
                                  .Arg<Array>()  // mixed
                                  .Arg<Array>()  // log_z
                                  .Arg<Array>()  // dmixed
                                  .Ret<Array>()  // dqkv
                                  .Attr<int64_t>("n_kv_heads"));

// Products of float32 matrices by the matrix unit of a processor (AMX), which multiplies numbers of 8 bits (bfloat16)
// and adds in float32: a training step's three, x @ w, dy @ w' and x' @ dy.
//
// A float32 has 24 bits, and so is exactly the sum of three bfloat16, a = a1 + a2 + a3, each 2^8 times smaller than the
// one before. Of the nine products of two such sums the six largest are added up, the smallest first:
//   a3 b1 + a2 b1 + a1 b1 + a1 b2 + a2 b2 + a1 b3;
// what is left out is of the order of a float32's own rounding, 2^-24. The unit takes numbers below 2^-126 for zero, so
// of numbers below 1e-33 the smaller parts are lost; an infinity has none, and becomes NaN. Source: Henry, Tang & Heinecke 2019, Leveraging
// the bfloat16 artificial intelligence datatype for higher-precision computations, arXiv 1904.06376.
//
// All dimensions are multiples of 32. Each element is summed by one thread, in an order that does not depend on how
// many threads there are.

#if !defined(__AMX_BF16__) || !defined(__AVX512F__)
#error "this compiler knows no AMX of this processor"
#endif

#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "threads.h"

namespace {

constexpr int PARTS = 3;              // of a number
constexpr int SIDE = 16, TERMS = 32;  // a tile holds one part of 16 lines of 32 terms, as 16 rows of 16 pairs
constexpr int BLOCK = 2 * SIDE;       // sums of 32 x 32 fill four tiles; two more hold each factor
constexpr int ROWS = 64;              // of a thread's turn, kept in its cache
constexpr int DEPTH = 256;            // of terms that are summed in the tiles, and kept in the cache
constexpr int ROW_BYTES = 64, TILE = SIDE * ROW_BYTES, TILES = PARTS * TILE;

// A factor: its lines are what the result has rows or columns of, its terms are summed over. One of the two lies
// contiguously in memory, the other so many floats apart.
struct Factor {
  const float* data;
  int64_t line, term;
  const float* at(int64_t i, int64_t k) const { return data + i * line + k * term; }
};

// Of 16 pairs of numbers the leading 8 bits of each, side by side; taken off the numbers unless it is the last part.
inline __m512i part_of(__m512& first, __m512& second, bool last) {
  const __m512i top = _mm512_set1_epi32(int(0xffff0000));
  const __m512i a = _mm512_castps_si512(first), b = _mm512_castps_si512(second);
  if (!last) {
    first = _mm512_sub_ps(first, _mm512_castsi512_ps(_mm512_and_si512(a, top)));
    second = _mm512_sub_ps(second, _mm512_castsi512_ps(_mm512_and_si512(b, top)));
  }
  return _mm512_ternarylogic_epi32(_mm512_srli_epi32(a, 16), b, top, 0xf8);  // a >> 16 | (b & top)
}

// 16 x 16 pairs, in place: pairs, quadruples, then halves of halves change places.
inline void transpose(__m512i* rows) {
  __m512i turned[16];
  for (int i = 0; i < 16; i += 2) {
    turned[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
    turned[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
  }
  for (int i = 0; i < 16; i += 4)
    for (int j = 0; j < 2; ++j) {
      rows[i + 2 * j] = _mm512_unpacklo_epi64(turned[i + j], turned[i + j + 2]);
      rows[i + 2 * j + 1] = _mm512_unpackhi_epi64(turned[i + j], turned[i + j + 2]);
    }
  for (int i = 0; i < 16; i += 8)
    for (int j = 0; j < 4; ++j) {
      turned[i + j] = _mm512_shuffle_i32x4(rows[i + j], rows[i + j + 4], 0x88);
      turned[i + j + 4] = _mm512_shuffle_i32x4(rows[i + j], rows[i + j + 4], 0xdd);
    }
  for (int j = 0; j < 8; ++j) {
    rows[j] = _mm512_shuffle_i32x4(turned[j], turned[j + 8], 0x88);
    rows[j + 8] = _mm512_shuffle_i32x4(turned[j], turned[j + 8], 0xdd);
  }
}

// The parts of 16 lines x 32 terms as tiles. As the unit wants them, a row of the left factor's tile is a line and holds
// pairs of its terms; a row of the right one's is a pair of terms and holds that of each line.
template <bool LEFT, bool TERMS_CONTIGUOUS>
void pack(const float* x, int64_t apart, char* to) {
  constexpr bool TURNED = LEFT != TERMS_CONTIGUOUS;
  const __m512i even = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
  const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
  __m512i parts[PARTS][SIDE];
#pragma GCC unroll 16
  for (int r = 0; r < SIDE; ++r) {
    __m512 first, second;
    if (TERMS_CONTIGUOUS) {
      const __m512 low = _mm512_loadu_ps(x + r * apart), high = _mm512_loadu_ps(x + r * apart + SIDE);
      first = _mm512_permutex2var_ps(low, even, high);
      second = _mm512_permutex2var_ps(low, odd, high);
    } else {
      first = _mm512_loadu_ps(x + 2 * r * apart);
      second = _mm512_loadu_ps(x + (2 * r + 1) * apart);
    }
#pragma GCC unroll 3
    for (int p = 0; p < PARTS; ++p) {
      parts[p][r] = part_of(first, second, p == PARTS - 1);
      if (!TURNED) _mm512_store_si512(to + p * TILE + r * ROW_BYTES, parts[p][r]);
    }
  }
  if (TURNED)
    for (int p = 0; p < PARTS; ++p) {
      transpose(parts[p]);
      for (int r = 0; r < SIDE; ++r) _mm512_store_si512(to + p * TILE + r * ROW_BYTES, parts[p][r]);
    }
}

// Bytes of 16 lines of so many terms, packed.
int64_t panel(int64_t terms) { return terms / TERMS * TILES; }

// Lines [i, i_end) of the terms [k, k_end), each 16 of them a panel.
template <bool LEFT>
void pack(const Factor& factor, int64_t i, int64_t i_end, int64_t k, int64_t k_end, char* to) {
  const int64_t size = panel(k_end - k);
  for (; k < k_end; k += TERMS, to += TILES)
    for (int64_t line = i; line < i_end; line += SIDE) {
      char* tiles = to + (line - i) / SIDE * size;
      if (factor.term == 1)
        pack<LEFT, true>(factor.at(line, k), factor.line, tiles);
      else
        pack<LEFT, false>(factor.at(line, k), factor.term, tiles);
    }
}

// Tiles 0 - 3 += 4, 5 @ 6, 7. The instructions take their tiles' numbers as constants.
inline void multiply_tiles() {
  _tile_dpbf16ps(0, 4, 6);
  _tile_dpbf16ps(1, 4, 7);
  _tile_dpbf16ps(2, 5, 6);
  _tile_dpbf16ps(3, 5, 7);
}
inline void load_left(const char* part, int64_t size) {
  _tile_loadd(4, part, ROW_BYTES);
  _tile_loadd(5, part + size, ROW_BYTES);
}
inline void load_right(const char* part, int64_t size) {
  _tile_loadd(6, part, ROW_BYTES);
  _tile_loadd(7, part + size, ROW_BYTES);
}

// c[32, 32] = the product of two packed panels each, `size` bytes apart.
void block(int64_t terms, const char* a, const char* b, int64_t size, float* c, int64_t c_row) {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (const char* end = a + panel(terms); a < end; a += TILES, b += TILES) {
    load_right(b, size);
    for (int p = PARTS - 1; p >= 0; --p) {
      load_left(a + p * TILE, size);
      multiply_tiles();
    }
    load_right(b + TILE, size);
    multiply_tiles();
    load_left(a + TILE, size);
    multiply_tiles();
    load_right(b + 2 * TILE, size);
    load_left(a, size);
    multiply_tiles();
  }
  const int64_t apart = c_row * sizeof(float);
  _tile_stored(0, c, apart);
  _tile_stored(1, c + SIDE, apart);
  _tile_stored(2, c + SIDE * c_row, apart);
  _tile_stored(3, c + SIDE * c_row + SIDE, apart);
}

// c[32, 32] = or += that. More terms are added up outside of the tiles, so that a sum of thousands keeps the bits of one
// of hundreds.
void add_block(int64_t terms, const char* a, const char* b, int64_t size, float* c, int64_t c_row, bool first) {
  if (first) return block(terms, a, b, size, c, c_row);
  alignas(64) float sum[BLOCK][BLOCK];
  block(terms, a, b, size, sum[0], BLOCK);
  for (int i = 0; i < BLOCK; ++i)
    for (int j = 0; j < BLOCK; ++j) c[i * c_row + j] += sum[i][j];
}

// The thread's tiles, all of 16 rows of 64 bytes, for as long as it lives.
struct Tiles {
  Tiles() {
    struct alignas(64) {
      uint8_t palette = 1, start_row = 0, unused[14] = {};
      uint16_t row_bytes[16] = {};
      uint8_t rows[16] = {};
    } shape;
    std::fill_n(shape.row_bytes, 8, ROW_BYTES);
    std::fill_n(shape.rows, 8, SIDE);
    _tile_loadconfig(&shape);
  }
  ~Tiles() { _tile_release(); }
};

// Memory of a thread for packed factors. What others read of a thread's meanwhile is not what it packs for itself.
enum Use { SHARED, OWN };
template <Use USE>
char* room(int64_t bytes) {
  struct alignas(64) Row {
    char bytes[ROW_BYTES];
  };
  thread_local std::vector<Row> memory;
  memory.resize(std::max<size_t>(memory.size(), bytes / ROW_BYTES));
  return memory[0].bytes;
}

// c[I, J] where there are many more rows than terms: b is packed once for all, then 64 rows of a at a time.
void by_rows(ffi::ThreadPool& pool, const Factor& a, const Factor& b, float* c, int64_t I, int64_t K, int64_t J) {
  const int64_t size = panel(K);
  char* right = room<SHARED>(J / SIDE * size);
  share_out(pool, J / BLOCK, [&](int64_t i) {
    pack<false>(b, i * BLOCK, (i + 1) * BLOCK, 0, K, right + i * BLOCK / SIDE * size);
  });
  share_out(pool, (I + ROWS - 1) / ROWS, [&](int64_t turn) {
    const int64_t from = turn * ROWS, to = std::min(from + ROWS, I);
    char* left = room<OWN>(ROWS / SIDE * size);
    pack<true>(a, from, to, 0, K, left);
    const Tiles tiles;
    for (int64_t j = 0; j < J; j += BLOCK)
      for (int64_t i = from; i < to; i += BLOCK)
        for (int64_t k = 0; k < K; k += DEPTH)
          add_block(std::min<int64_t>(DEPTH, K - k), left + (i - from) / SIDE * size + panel(k),
                    right + j / SIDE * size + panel(k), size, c + i * J + j, J, k == 0);
  });
}

// c[I, J] where there are many more terms than rows: a thread has part of the longer side, and goes through the terms
// once, 256 at a time. Both factors are read as they come; the shorter one is packed by each thread.
void by_terms(ffi::ThreadPool& pool, const Factor& a, const Factor& b, float* c, int64_t I, int64_t K, int64_t J) {
  const int64_t blocks = std::max(I, J) / BLOCK, shares = std::min<int64_t>(pool.num_threads(), blocks);
  share_out(pool, shares, [&](int64_t share) {
    const int64_t from = blocks * share / shares * BLOCK, to = blocks * (share + 1) / shares * BLOCK;
    const int64_t i_from = I > J ? from : 0, i_to = I > J ? to : I, j_from = I > J ? 0 : from, j_to = I > J ? J : to;
    char* left = room<OWN>((i_to - i_from + j_to - j_from) / SIDE * panel(DEPTH));
    const Tiles tiles;
    for (int64_t k = 0; k < K; k += DEPTH) {
      const int64_t k_end = std::min(k + DEPTH, K), size = panel(k_end - k);
      char* right = left + (i_to - i_from) / SIDE * size;
      pack<true>(a, i_from, i_to, k, k_end, left);
      pack<false>(b, j_from, j_to, k, k_end, right);
      for (int64_t j = j_from; j < j_to; j += BLOCK)
        for (int64_t i = i_from; i < i_to; i += BLOCK)
          add_block(k_end - k, left + (i - i_from) / SIDE * size, right + (j - j_from) / SIDE * size, size,
                    c + i * J + j, J, k == 0);
    }
  });
}

using Array = ffi::Buffer<ffi::F32>;
using Result = ffi::Result<Array>;

// Calls one(x, y, c, rows of x, columns of x, rows of y, columns of y) for each pair of matrices: axes before their two
// are those of vmap.
template <class One>
ffi::Error each_pair(const Array& x, const Array& y, Result& c, const One& one) {
  const auto x_shape = x.dimensions(), y_shape = y.dimensions();
  const int64_t x_rows = x_shape[x_shape.size() - 2], x_columns = x_shape.back();
  const int64_t y_rows = y_shape[y_shape.size() - 2], y_columns = y_shape.back();
  const int64_t pairs = x.element_count() / (x_rows * x_columns);
  for (int64_t p = 0; p < pairs; ++p)
    one(x.typed_data() + p * x_rows * x_columns, y.typed_data() + p * y_rows * y_columns,
        c->typed_data() + p * (c->element_count() / pairs), x_rows, x_columns, y_rows, y_columns);
  return ffi::Error::Success();
}

ffi::Error Product(ffi::ThreadPool pool, Array x, Array w, Result y) {
  return each_pair(x, w, y, [&](auto* x, auto* w, float* y, int64_t tokens, int64_t m, int64_t, int64_t n) {
    by_rows(pool, {x, m, 1}, {w, 1, n}, y, tokens, m, n);
  });
}

ffi::Error InputGradient(ffi::ThreadPool pool, Array dy, Array w, Result dx) {
  return each_pair(dy, w, dx, [&](auto* dy, auto* w, float* dx, int64_t tokens, int64_t n, int64_t m, int64_t) {
    by_rows(pool, {dy, n, 1}, {w, n, 1}, dx, tokens, n, m);
  });
}

ffi::Error WeightGradient(ffi::ThreadPool pool, Array x, Array dy, Result dw) {
  return each_pair(x, dy, dw, [&](auto* x, auto* dy, float* dw, int64_t tokens, int64_t m, int64_t, int64_t n) {
    by_terms(pool, {x, 1, m}, {dy, 1, n}, dw, m, tokens, n);
  });
}

}  // namespace

// Whether Linux lends this process the unit's registers, which it does only to those that ask (ARCH_REQ_XCOMP_PERM of
// XFEATURE_XTILEDATA).
extern "C" int permitted() { return syscall(SYS_arch_prctl, 0x1023, 18) == 0; }

#define PRODUCT(name, function) \
  XLA_FFI_DEFINE_HANDLER_SYMBOL( \
      name, function, ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<Array>().Arg<Array>().Ret<Array>())
PRODUCT(product, Product);
PRODUCT(input_gradient, InputGradient);
PRODUCT(weight_gradient, WeightGradient);

/* Statistics of one tensor in one reading pass; called through ctypes, tied to no Python and no torch.
 *
 * Values are taken block by block, small enough to stay in the first-level cache, while the next block is
 * called into it. A block is swept for its range and sums, then for what its range makes necessary (zeros,
 * non-finite values, sums in double, histogram). Every sum runs in LANES independent partial sums written out
 * in the source, so the compiler needs no licence to reorder arithmetic, and every machine gets the
 * same bits. Compile without -ffast-math: linked into a shared object it turns denormals off for the
 * whole process. Contraction into fused multiply-add must be off (see build_statistics.py).
 */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __FAST_MATH__
#error "compile without -ffast-math: it would turn denormal numbers off in the whole process"
#endif

#if defined(_MSC_VER) && !defined(__clang__)
#define INLINE static __forceinline
#define RESTRICT __restrict
#define EXPORT __declspec(dllexport)
#pragma fp_contract(off)
#else
#define INLINE static inline __attribute__((always_inline))
#define RESTRICT restrict
#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif
#endif

/* Which bodies are compiled beside the plain one; defined from outside to test the others. */
#ifndef X86_VERSIONS
#if (defined(__GNUC__) || defined(__clang__)) && defined(__x86_64__)
#define X86_VERSIONS 2 /* AVX2 and AVX-512 */
#else
#define X86_VERSIONS 0
#endif
#endif
enum { PLAIN, AVX2, AVX512 }; /* which body is being compiled: a constant in each */
#define TARGET_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,popcnt")))
#define TARGET_AVX2 __attribute__((target("avx2,popcnt")))
#if X86_VERSIONS
#include <immintrin.h>
#endif
#if defined(__GNUC__) || defined(__clang__)
#define PREFETCH(address) __builtin_prefetch(address)
#else
#define PREFETCH(address) ((void)0)
#endif

enum {
    ABI = 3,
    LANES = 16,
    GROUP = 4 * LANES, /* four values are added as a tree before they join a lane's sum */
    BLOCK = 4096,
    BINS = 64,
    LOWEST_EXPONENT = -47,
    SAMPLE_CELLS = 1024,
    SAMPLE_RUN = 16,
    SAMPLE_ALL = SAMPLE_CELLS * SAMPLE_RUN, /* up to here every element is in the sample */
    MAX_DIMENSIONS = 64,
    SWEPT_EXPONENTS = 40, /* more distinct exponents in a block are counted in tables */
    LINE = 64, /* bytes of a cache line */
    STEP = 1024 /* bytes in 16 vectors of AVX-512, 32 of AVX2 */
};

/* Codes of element types; the caller's low byte. HISTOGRAM is or-ed onto them. */
enum { F32, F64, BF16, F16, I16, I32, I64, U16, U32, U64, TYPES, HISTOGRAM = 256 };

static const int8_t ELEMENT_BYTES[TYPES] = {4, 8, 2, 2, 2, 4, 8, 2, 4, 8};

/* What is returned for one tensor. min, max, sum, l1, l2 are over finite values. */
struct row {
    uint64_t count, zeros, nan, inf, subnormals;
    double min, max, sum, l1, l2;
    uint64_t has_histogram;
    uint64_t histogram[BINS];
};

/* Sums of one tensor while it is read. Squares are kept in three ranges, so that no square of a
 * finite double over- or underflows: big holds (x * 2^-600)^2, small (x * 2^600)^2. */
struct state {
    uint64_t zeros, nan, inf, subnormals;
    double min, max, sum, l1, squares, big, small;
    int with_histogram;
    int cautious; /* the last block was no regular one: the next one is likely to be none either */
    uint64_t histogram[BINS];
};

#define BIG_SCALE 0x1p-600
#define SMALL_SCALE 0x1p600
#define F32_INF 0x7f800000u
#define F64_INF 0x7ff0000000000000ull

INLINE int clamped_bin(int exponent) {
    int bin = exponent - LOWEST_EXPONENT;
    return bin < 0 ? 0 : bin >= BINS ? BINS - 1 : bin;
}

INLINE double sum_lanes(const double *lanes) {
    double sum[LANES];
    memcpy(sum, lanes, sizeof sum);
    for (int width = LANES / 2; width; width /= 2)
        for (int j = 0; j < width; j++) sum[j] += sum[j + width];
    return sum[0];
}

INLINE double sum_float_lanes(const float *lanes) {
    double sum[LANES];
    for (int j = 0; j < LANES; j++) sum[j] = lanes[j];
    return sum_lanes(sum);
}

/* What is read after a block: where it begins, and bytes an element. It is called into the cache while this one is
 * swept: sweeps of what is in the cache would leave the memory idle. */
struct ahead {
    const char *data;
    int bytes;
};

INLINE void prefetch(struct ahead ahead, int i) {
    for (int k = 0; k < GROUP * ahead.bytes; k += LINE) PREFETCH(ahead.data + i * ahead.bytes + k);
}

/* ---- 32-bit floats ------------------------------------------------------------------------- */

struct range32 {
    uint32_t low;        /* smallest magnitude, as bits */
    int32_t first, last; /* smallest and largest value, as keys that order like the floats */
};

INLINE int32_t key32(uint32_t bits) {
    int32_t s = (int32_t)bits;
    return s ^ ((s >> 31) & 0x7fffffff);
}

INLINE float unkey32(int32_t key) {
    int32_t bits = key ^ ((key >> 31) & 0x7fffffff);
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

INLINE struct range32 find_range32(const uint32_t *RESTRICT u, int n) {
    uint32_t low = 0xffffffffu;
    int32_t first = INT32_MAX, last = INT32_MIN;
    for (int i = 0; i < n; i++) {
        uint32_t a = u[i] & 0x7fffffffu;
        int32_t k = key32(u[i]);
        low = a < low ? a : low;
        first = k < first ? k : first;
        last = k > last ? k : last;
    }
    struct range32 range = {low, first, last};
    return range;
}

/* What one sweep finds out of a block of floats: right where all are finite and `l1` is too, and no square over- or
 * underflows in float. The sums are those of LANES partial sums. */
struct sweep32 {
    float min, max, low; /* low: the smallest magnitude */
    double sum, l1, squares;
};

INLINE float lesser(float a, float b) { return a < b ? a : b; }
INLINE float greater(float a, float b) { return a > b ? a : b; }

INLINE struct sweep32 sweep32(const float *RESTRICT x, int n, struct ahead ahead) {
    float sum[LANES] = {0}, l1[LANES] = {0}, squares[LANES] = {0}, min[LANES], max[LANES], low[LANES];
    int i = 0;
    for (int j = 0; j < LANES; j++) min[j] = low[j] = INFINITY, max[j] = -INFINITY;
    for (; i + GROUP <= n; i += GROUP) {
        prefetch(ahead, i);
        for (int j = 0; j < LANES; j++) {
            float a = x[i + j], b = x[i + LANES + j], c = x[i + 2 * LANES + j], d = x[i + 3 * LANES + j];
            float p = fabsf(a), q = fabsf(b), r = fabsf(c), t = fabsf(d);
            sum[j] += (a + b) + (c + d);
            l1[j] += (p + q) + (r + t);
            squares[j] += (a * a + b * b) + (c * c + d * d);
            min[j] = lesser(lesser(lesser(a, b), lesser(c, d)), min[j]);
            max[j] = greater(greater(greater(a, b), greater(c, d)), max[j]);
            low[j] = lesser(lesser(lesser(p, q), lesser(r, t)), low[j]);
        }
    }
    struct sweep32 s = {INFINITY, -INFINITY, INFINITY, sum_float_lanes(sum), sum_float_lanes(l1), sum_float_lanes(squares)};
    for (int j = 0; j < LANES; j++) {
        s.min = lesser(min[j], s.min);
        s.max = greater(max[j], s.max);
        s.low = lesser(low[j], s.low);
    }
    for (; i < n; i++) {
        float a = x[i];
        s.sum += a;
        s.l1 += fabsf(a);
        s.squares += (double)a * a;
        s.min = lesser(a, s.min);
        s.max = greater(a, s.max);
        s.low = lesser(fabsf(a), s.low);
    }
    return s;
}

/* Below 2^-56 squares lose digits to underflow; above 2^56 they may overflow. */
INLINE int is_regular(float high) { return high > 0x1p-56f && high < 0x1p56f; }

/* A block whose values are all finite and of no extreme magnitude, in one sweep. 0 where it is not like that: nothing
 * was added then. */
INLINE int add_regular_block32(const float *RESTRICT x, int n, struct ahead ahead, struct state *s, struct range32 *range) {
    struct sweep32 sweep = sweep32(x, n, ahead);
    float high = greater(sweep.max, -sweep.min);
    if (!(sweep.l1 < INFINITY && is_regular(high))) return 0;
    s->sum += sweep.sum;
    s->l1 += sweep.l1;
    s->squares += sweep.squares;
    sweep.min += 0.0f; /* which zero was met first is up to the instruction set: no -0 */
    sweep.max += 0.0f;
    memcpy(&range->first, &sweep.min, 4);
    memcpy(&range->last, &sweep.max, 4);
    memcpy(&range->low, &sweep.low, 4);
    range->first = key32((uint32_t)range->first);
    range->last = key32((uint32_t)range->last);
    return 1;
}

INLINE double finite_or_zero(uint32_t bits) {
    float value;
    bits = (bits & 0x7fffffffu) < F32_INF ? bits : 0;
    memcpy(&value, &bits, 4);
    return value;
}

/* The same in double, with non-finite values left out: for very large, very small and broken blocks. */
INLINE void add_wide_sums32(const uint32_t *RESTRICT u, int n, struct state *s) {
    double sum[LANES] = {0}, l1[LANES] = {0}, squares[LANES] = {0};
    int i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++) {
            double a = finite_or_zero(u[i + j]);
            sum[j] += a;
            l1[j] += fabs(a);
            squares[j] += a * a;
        }
    s->sum += sum_lanes(sum);
    s->l1 += sum_lanes(l1);
    s->squares += sum_lanes(squares);
    for (; i < n; i++) {
        double a = finite_or_zero(u[i]);
        s->sum += a;
        s->l1 += fabs(a);
        s->squares += a * a;
    }
}

struct counts32 {
    uint32_t zeros, below_normal, at_least_inf, nan;
    uint32_t low; /* smallest magnitude other than zero */
};

INLINE struct counts32 count_special32(const uint32_t *RESTRICT u, int n, uint32_t smallest_normal) {
    uint32_t zeros = 0, below = 0, from_inf = 0, nan = 0, low = 0xffffffffu;
    for (int i = 0; i < n; i++) {
        uint32_t a = u[i] & 0x7fffffffu, less = a - 1u; /* zero wraps to the largest */
        zeros += a == 0;
        below += a < smallest_normal;
        from_inf += a >= F32_INF;
        nan += a > F32_INF;
        low = less < low ? less : low;
    }
    struct counts32 c = {zeros, below, from_inf, nan, low + 1u};
    return c;
}

INLINE void find_finite_range32(const uint32_t *RESTRICT u, int n, struct range32 *range) {
    range->first = INT32_MAX;
    range->last = INT32_MIN;
    for (int i = 0; i < n; i++) {
        int32_t k = key32(u[i]);
        if ((u[i] & 0x7fffffffu) < F32_INF) {
            range->first = k < range->first ? k : range->first;
            range->last = k > range->last ? k : range->last;
        }
    }
}

INLINE uint32_t count_equal(const uint8_t *RESTRICT bytes, int n, uint8_t wanted) {
    uint8_t lanes[64] = {0}; /* BLOCK / 64 additions at most: no lane overflows */
    int i = 0;
    for (; i + 64 <= n; i += 64)
        for (int j = 0; j < 64; j++) lanes[j] = (uint8_t)(lanes[j] + (bytes[i + j] == wanted));
    uint32_t sum = 0;
    for (int j = 0; j < 64; j++) sum += lanes[j];
    for (; i < n; i++) sum += bytes[i] == wanted;
    return sum;
}

#if X86_VERSIONS
/* How often each of 16 codes stands in many bytes: found[k] counts the bytes of value high - k. Each byte is looked up
 * as a byte with one bit set, and a tree of carry-save adders counts all bits of one place at once (Mula, Kurz, Lemire:
 * Faster population counts using AVX2 instructions, 2018). plane[p] holds digit p of the counts. What is none of the
 * codes has its high bit set when it is looked up, which gives 0. */
INLINE TARGET_AVX512 __m512i load_avx512(const uint8_t *bytes) { return _mm512_loadu_si512((const void *)bytes); }
INLINE TARGET_AVX512 __m512i codes_avx512(__m128i codes) { return _mm512_broadcast_i32x4(codes); }
INLINE TARGET_AVX512 __m512i all_avx512(int byte) { return _mm512_set1_epi8((char)byte); }
INLINE TARGET_AVX512 __m512i look_up_avx512(__m512i codes, const uint8_t *places) {
    return _mm512_shuffle_epi8(codes, load_avx512(places));
}
INLINE TARGET_AVX512 void store_place_avx512(__m512i high, const uint8_t *bytes, uint8_t *place) {
    __m512i below = _mm512_adds_epu8(_mm512_sub_epi8(high, load_avx512(bytes)), all_avx512(0x70));
    _mm512_storeu_si512((void *)place, below);
}
INLINE TARGET_AVX512 __m512i parity_avx512(__m512i a, __m512i b, __m512i c) {
    return _mm512_ternarylogic_epi64(a, b, c, 0x96);
}
INLINE TARGET_AVX512 __m512i majority_avx512(__m512i a, __m512i b, __m512i c) {
    return _mm512_ternarylogic_epi64(a, b, c, 0xe8);
}
INLINE TARGET_AVX512 uint32_t count_bit_avx512(__m512i plane, int k) {
    return (uint32_t)__builtin_popcountll(_mm512_test_epi8_mask(plane, all_avx512(1 << k)));
}
INLINE TARGET_AVX512 uint64_t within_avx512(__m512i high, __m512i span, const uint8_t *bytes) {
    return _mm512_cmple_epu8_mask(_mm512_sub_epi8(high, load_avx512(bytes)), span);
}

INLINE TARGET_AVX2 __m256i load_avx2(const uint8_t *bytes) { return _mm256_loadu_si256((const void *)bytes); }
INLINE TARGET_AVX2 __m256i codes_avx2(__m128i codes) { return _mm256_broadcastsi128_si256(codes); }
INLINE TARGET_AVX2 __m256i all_avx2(int byte) { return _mm256_set1_epi8((char)byte); }
INLINE TARGET_AVX2 __m256i look_up_avx2(__m256i codes, const uint8_t *places) {
    return _mm256_shuffle_epi8(codes, load_avx2(places));
}
INLINE TARGET_AVX2 void store_place_avx2(__m256i high, const uint8_t *bytes, uint8_t *place) {
    __m256i below = _mm256_adds_epu8(_mm256_sub_epi8(high, load_avx2(bytes)), all_avx2(0x70));
    _mm256_storeu_si256((void *)place, below);
}
INLINE TARGET_AVX2 __m256i parity_avx2(__m256i a, __m256i b, __m256i c) {
    return _mm256_xor_si256(_mm256_xor_si256(a, b), c);
}
INLINE TARGET_AVX2 __m256i majority_avx2(__m256i a, __m256i b, __m256i c) {
    return _mm256_or_si256(_mm256_and_si256(a, b), _mm256_and_si256(_mm256_or_si256(a, b), c));
}
INLINE TARGET_AVX2 uint32_t count_bit_avx2(__m256i plane, int k) {
    __m256i moved = _mm256_sll_epi16(plane, _mm_cvtsi32_si128(7 - k));
    return (uint32_t)__builtin_popcount((uint32_t)_mm256_movemask_epi8(moved));
}
INLINE TARGET_AVX2 uint64_t within_avx2(__m256i high, __m256i span, const uint8_t *bytes) {
    __m256i below = _mm256_sub_epi8(high, load_avx2(bytes));
    return (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_min_epu8(below, span), below));
}

/* Adds vectors a and b to a digit whose sum is `low`; what is carried goes to the next digit. */
#define ADD_TWO(version, carried, low, a, b) \
    do { \
        sum = parity_##version(low, a, b); \
        carried = majority_##version(low, a, b); \
        low = sum; \
    } while (0)

#define ADD_FOUR(version, carried, at) \
    do { \
        ADD_TWO(version, two, plane[0], look_up_##version(codes, at), look_up_##version(codes, at + width)); \
        ADD_TWO(version, also, plane[0], look_up_##version(codes, at + 2 * width), \
                look_up_##version(codes, at + 3 * width)); \
        ADD_TWO(version, carried, plane[1], two, also); \
    } while (0)

/* Bytes from low to high stand for exponents of value byte + bias. */
struct codes {
    int low, high, bias;
};

#define ONE_HOT ((long long)0x8040201008040201ull)

#define DEFINE_COUNT_CODES(version, TARGET, VECTOR, PLANES) \
    static TARGET void count_codes_##version(const uint8_t *bytes, int n, int high, uint32_t *found) { \
        const int width = (int)sizeof(VECTOR); \
        const VECTOR top = all_##version(high), none = all_##version(0); \
        uint8_t places[BLOCK]; \
        for (int i = 0; i < n; i += width) store_place_##version(top, bytes + i, places + i); \
        for (int half = 0; half < 2; half++) { \
            const VECTOR codes = codes_##version(_mm_set_epi64x(half ? ONE_HOT : 0, half ? 0 : ONE_HOT)); \
            VECTOR plane[PLANES], sum, two, also, four, fours, eight, carried; \
            for (int p = 0; p < PLANES; p++) plane[p] = none; \
            for (const uint8_t *at = places; at < places + n; at += 16 * width) { \
                ADD_FOUR(version, four, at); \
                ADD_FOUR(version, fours, at + 4 * width); \
                ADD_TWO(version, eight, plane[2], four, fours); \
                ADD_FOUR(version, four, at + 8 * width); \
                ADD_FOUR(version, fours, at + 12 * width); \
                ADD_TWO(version, carried, plane[2], four, fours); \
                ADD_TWO(version, eight, plane[3], eight, carried); \
                for (int p = 4; p < PLANES; p++) ADD_TWO(version, eight, plane[p], eight, none); \
            } \
            for (int k = 0; k < 8; k++) { \
                found[8 * half + k] = 0; \
                for (int p = 0; p < PLANES; p++) found[8 * half + k] += count_bit_##version(plane[p], k) << p; \
            } \
        } \
    } \
    /* Adds the few bytes from low to high one by one; returns how many they are. */ \
    static TARGET uint32_t add_few_##version(const uint8_t *bytes, int n, struct codes codes, struct state *s) { \
        const VECTOR top = all_##version(codes.high), span = all_##version(codes.high - codes.low); \
        uint32_t added = 0; \
        for (int i = 0; i < n; i += (int)sizeof(VECTOR)) \
            for (uint64_t found = within_##version(top, span, bytes + i); found; found &= found - 1, added++) \
                s->histogram[clamped_bin(bytes[i + __builtin_ctzll(found)] + codes.bias)]++; \
        return added; \
    }

/* BLOCK bytes are 64 vectors of AVX-512, or 128: counts of seven or of eight digits. */
DEFINE_COUNT_CODES(avx2, TARGET_AVX2, __m256i, 8)
#if X86_VERSIONS >= 2
DEFINE_COUNT_CODES(avx512, TARGET_AVX512, __m512i, 7)
#define IN_VERSION(version, name) ((version) == AVX512 ? name##_avx512 : name##_avx2)
#else
#define IN_VERSION(version, name) name##_avx2
#endif

enum { FEW = 64 }; /* up to here bytes are added one by one */

/* As add_exponents, on bytes with room behind them up to a multiple of STEP. */
INLINE void add_codes(uint8_t *bytes, int n, int low, int high, int bias, uint32_t counted, int version, struct state *s) {
    int padded = (n + STEP - 1) / STEP * STEP;
    memset(bytes + n, high + 1, (size_t)(padded - n));
    for (int top = high; top > low && counted; top -= 16) {
        uint32_t found[16];
        struct codes rest = {low + 1, top, bias};
        if (counted <= FEW) {
            counted -= IN_VERSION(version, add_few)(bytes, padded, rest, s);
            break;
        }
        IN_VERSION(version, count_codes)(bytes, padded, top, found);
        for (int k = 0; k < 16 && top - k > low; k++) {
            s->histogram[clamped_bin(top - k + bias)] += found[k];
            counted -= found[k];
        }
    }
    s->histogram[clamped_bin(low + bias)] += counted;
}
#endif

/* Adds bytes that are exponents (of value byte + bias), all of those counted within low..high. Fewer than
 * 256 counts a block and byte lane, so the sweeps run on whole vectors of bytes. */
INLINE void add_exponents(uint8_t *RESTRICT bytes, int n, int low, int high, int bias, uint32_t counted, int version,
                          struct state *s) {
    int bottom = LOWEST_EXPONENT - bias; /* what is at or below it falls into bin 0 */
    if (low < bottom) low = bottom;
#if X86_VERSIONS
    if (version != PLAIN) {
        add_codes(bytes, n, low, high, bias, counted, version, s);
        return;
    }
#endif
    if (high - low < SWEPT_EXPONENTS) { /* one sweep an exponent; the lowest gets the rest */
        for (int e = low + 1; e <= high && counted; e++) {
            uint32_t found = count_equal(bytes, n, (uint8_t)e);
            s->histogram[clamped_bin(e + bias)] += found;
            counted -= found;
        }
        s->histogram[clamped_bin(low + bias)] += counted;
        return;
    }
    uint32_t table[4][256];
    memset(table, 0, sizeof table);
    for (int i = 0; i < n; i++) table[i & 3][bytes[i]]++;
    for (int e = low + 1; e <= high; e++) {
        uint32_t found = table[0][e] + table[1][e] + table[2][e] + table[3][e];
        s->histogram[clamped_bin(e + bias)] += found;
        counted -= found;
    }
    s->histogram[clamped_bin(low + bias)] += counted;
}

/* low and high: biased exponents of the block's smallest and largest finite non-zero magnitude. The bytes of exponents
 * are counted, so their order is free: each word takes one from each quarter of the block, which needs no shuffling. */
INLINE void add_histogram32(const uint32_t *RESTRICT u, int n, int low, int high, uint32_t counted, int version,
                            struct state *s) {
    uint32_t words[BLOCK / 4];
    uint8_t *exponents = (uint8_t *)words;
    int quarter = n / 4;
    const uint32_t *RESTRICT v = u + quarter, *RESTRICT w = v + quarter, *RESTRICT x = w + quarter;
    for (int i = 0; i < quarter; i++)
        words[i] = (u[i] >> 23 & 0xffu) | (v[i] >> 15 & 0xff00u) | (w[i] >> 7 & 0xff0000u) | (x[i] << 1 & 0xff000000u);
    for (int k = 0; k < n % 4; k++) exponents[4 * quarter + k] = (uint8_t)(u[4 * quarter + k] >> 23);
    add_exponents(exponents, n, low, high, -127, counted, version, s);
}

/* Any block: its range first, in integers, for what follows from it. Sums of broken blocks, of very large and very
 * small values are made in double: their squares over- or underflow in float, slowly. */
INLINE struct counts32 add_any_block32(const float *RESTRICT x, int n, uint32_t smallest_normal, struct state *s,
                                       struct range32 *range) {
    const uint32_t *u = (const uint32_t *)(const void *)x;
    *range = find_range32(u, n);
    struct counts32 c = {0, 0, 0, 0, range->low};
    int broken = range->last >= (int32_t)F32_INF || range->first <= key32(0x80000000u | F32_INF);
    if (broken || range->low < smallest_normal) c = count_special32(u, n, smallest_normal);
    if (broken) find_finite_range32(u, n, range);
    add_wide_sums32(u, n, s);
    float high = greater(unkey32(range->last), -unkey32(range->first));
    s->cautious = broken || !is_regular(high);
    return c;
}

INLINE void add_block32(const float *RESTRICT x, int n, uint32_t smallest_normal, struct ahead ahead, int version,
                        struct state *s) {
    const uint32_t *u = (const uint32_t *)(const void *)x;
    struct range32 range;
    struct counts32 c = {0, 0, 0, 0, 0};
    if (!s->cautious && add_regular_block32(x, n, ahead, s, &range)) {
        c.low = range.low;
        if (range.low < smallest_normal) c = count_special32(u, n, smallest_normal);
    } else
        c = add_any_block32(x, n, smallest_normal, s, &range);
    s->zeros += c.zeros;
    s->subnormals += c.below_normal - c.zeros;
    s->nan += c.nan;
    s->inf += c.at_least_inf - c.nan;
    if (range.first > range.last) return;
    float min = unkey32(range.first), max = unkey32(range.last), high = greater(max, -min);
    s->min = min < s->min ? min : s->min;
    s->max = max > s->max ? max : s->max;
    uint32_t counted = (uint32_t)n - c.zeros - c.at_least_inf;
    if (s->with_histogram && counted) {
        uint32_t high_bits;
        memcpy(&high_bits, &high, 4);
        add_histogram32(u, n, (int)(c.low >> 23), (int)(high_bits >> 23), counted, version, s);
    }
}

/* ---- 64-bit floats, and integers read as such ----------------------------------------------- */

INLINE void add_squares64(const double *RESTRICT x, int n, double scale, double *total) {
    double squares[LANES] = {0};
    int i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++) {
            double a = x[i + j] * scale;
            squares[j] += a * a;
        }
    *total += sum_lanes(squares);
    for (; i < n; i++) *total += (x[i] * scale) * (x[i] * scale);
}

/* Sums and range of finite values; returns the largest magnitude. */
INLINE double add_finite64(const double *RESTRICT x, int n, struct state *s) {
    double sum[LANES] = {0}, l1[LANES] = {0}, min[LANES], max[LANES];
    for (int j = 0; j < LANES; j++) min[j] = INFINITY, max[j] = -INFINITY;
    int i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++) {
            double a = x[i + j];
            sum[j] += a;
            l1[j] += fabs(a);
            min[j] = a < min[j] ? a : min[j];
            max[j] = a > max[j] ? a : max[j];
        }
    double low = INFINITY, high = -INFINITY;
    for (int j = 0; j < LANES; j++) {
        low = min[j] < low ? min[j] : low;
        high = max[j] > high ? max[j] : high;
    }
    s->sum += sum_lanes(sum);
    s->l1 += sum_lanes(l1);
    for (; i < n; i++) {
        s->sum += x[i];
        s->l1 += fabs(x[i]);
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
    }
    s->min = low < s->min ? low : s->min;
    s->max = high > s->max ? high : s->max;
    return -low > high ? -low : high;
}

/* All of x are finite; counted of them are not zero, subnormals of those are below the smallest normal. */
INLINE void add_histogram64(const double *RESTRICT x, int n, uint32_t counted, int subnormals, int version,
                            struct state *s) {
    uint16_t exponents[BLOCK];
    uint8_t bins[BLOCK];
    const uint64_t *RESTRICT u = (const uint64_t *)(const void *)x;
    for (int i = 0; i < n; i++) exponents[i] = (uint16_t)((u[i] >> 52) & 0x7ffu);
    uint16_t low = 0xffffu, high = 0;
    for (int i = 0; i < n; i++) {
        uint16_t e = exponents[i], less = (uint16_t)(e - 1u); /* zeros wrap to the largest */
        low = less < low ? less : low;
        high = e > high ? e : high;
    }
    const int16_t bottom = 1023 + LOWEST_EXPONENT;
    for (int i = 0; i < n; i++) {
        int16_t bin = (int16_t)((int16_t)exponents[i] - bottom);
        bin = bin < 0 ? 0 : bin > BINS - 1 ? BINS - 1 : bin;
        bins[i] = (uint8_t)bin;
    }
    int lowest = subnormals ? 0 : clamped_bin((int)(uint16_t)(low + 1u) - 1023);
    add_exponents(bins, n, lowest, clamped_bin((int)high - 1023), LOWEST_EXPONENT, counted, version, s);
}

INLINE void add_block64(const double *RESTRICT x, int n, int version, struct state *s) {
    uint64_t zeros = 0, below = 0, from_inf = 0, nan = 0;
    for (int i = 0; i < n; i++) {
        uint64_t a;
        memcpy(&a, x + i, 8);
        a &= 0x7fffffffffffffffull;
        zeros += a == 0;
        below += a < 0x0010000000000000ull;
        from_inf += a >= F64_INF;
        nan += a > F64_INF;
    }
    s->zeros += zeros;
    s->subnormals += below - zeros;
    s->nan += nan;
    s->inf += from_inf - nan;
    double finite[BLOCK];
    if (from_inf) {
        int kept = 0;
        for (int i = 0; i < n; i++)
            if (fabs(x[i]) < INFINITY) finite[kept++] = x[i];
        x = finite;
        n = kept;
    }
    double high = add_finite64(x, n, s);
    if (high > 0x1p480)
        add_squares64(x, n, BIG_SCALE, &s->big);
    else if (high < 0x1p-440)
        add_squares64(x, n, SMALL_SCALE, &s->small);
    else
        add_squares64(x, n, 1.0, &s->squares);
    if (!s->with_histogram) return;
    uint32_t counted = (uint32_t)((uint64_t)n - zeros);
    if (counted) add_histogram64(x, n, counted, below > zeros, version, s);
}

/* ---- element types to blocks ---------------------------------------------------------------- */

INLINE float half_to_float(uint16_t half) {
    uint32_t magnitude = half & 0x7fffu, sign = (uint32_t)(half & 0x8000u) << 16;
    uint32_t bits = (magnitude << 13) + (112u << 23); /* moves the exponent's bias from 15 to 127 */
    bits += magnitude >= 0x7c00u ? 112u << 23 : 0u;
    uint32_t shifted = bits + (1u << 23);
    float tiny;
    memcpy(&tiny, &shifted, 4);
    tiny -= 0x1p-14f; /* exact where the half is subnormal, and no denormal float is touched */
    uint32_t tiny_bits;
    memcpy(&tiny_bits, &tiny, 4);
    bits = (magnitude < 0x0400u ? tiny_bits : bits) | sign;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

#define WIDEN(type)                                                   \
    {                                                                 \
        const type *RESTRICT values = (const type *)data;             \
        for (int i = 0; i < n; i++) wide[i] = (double)values[i];      \
        x64 = wide;                                                   \
        break;                                                        \
    }

/* n <= BLOCK elements at data. Integers beyond 2^53 are rounded to the nearest double. */
INLINE void add_block(const void *data, int n, int type, int version, struct state *s) {
    float narrow[BLOCK];
    double wide[BLOCK];
    const float *x32 = NULL;
    const double *x64 = NULL;
    switch (type) {
    case F32: x32 = (const float *)data; break;
    case F64: x64 = (const double *)data; break;
    case BF16: {
        const uint16_t *RESTRICT values = (const uint16_t *)data;
        uint32_t *RESTRICT bits = (uint32_t *)(void *)narrow;
        for (int i = 0; i < n; i++) bits[i] = (uint32_t)values[i] << 16;
        x32 = narrow;
        break;
    }
    case F16: {
        const uint16_t *RESTRICT values = (const uint16_t *)data;
        for (int i = 0; i < n; i++) narrow[i] = half_to_float(values[i]);
        x32 = narrow;
        break;
    }
    case I16: WIDEN(int16_t)
    case I32: WIDEN(int32_t)
    case I64: WIDEN(int64_t)
    case U16: WIDEN(uint16_t)
    case U32: WIDEN(uint32_t)
    case U64: WIDEN(uint64_t)
    default: break;
    }
    struct ahead ahead = {(const char *)data + (size_t)n * (size_t)ELEMENT_BYTES[type], ELEMENT_BYTES[type]};
    if (x32) add_block32(x32, n, type == F16 ? 0x38800000u : 0x00800000u, ahead, version, s);
    if (x64) add_block64(x64, n, version, s);
}

INLINE void add_all(const char *data, int64_t n, int type, int version, struct state *s) {
    int64_t bytes = ELEMENT_BYTES[type];
    for (int64_t i = 0; i < n; i += BLOCK)
        add_block(data + i * bytes, (int)(n - i < BLOCK ? n - i : BLOCK), type, version, s);
}

/* One compiled body an instruction set, chosen at run time: no ifunc, so musl and macOS work too. */
static int best_version(void) {
    static int found = -1; /* set once; racing threads agree */
    if (found >= 0) return found;
    int best = PLAIN;
#if X86_VERSIONS >= 1
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2")) best = AVX2;
#endif
#if X86_VERSIONS >= 2
    if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
        best = AVX512;
#endif
    return found = best;
}

#if X86_VERSIONS >= 2
TARGET_AVX512 static void add_all_avx512(const char *data, int64_t n, int type, struct state *s) {
    add_all(data, n, type, AVX512, s);
}
#endif
#if X86_VERSIONS >= 1
TARGET_AVX2 static void add_all_avx2(const char *data, int64_t n, int type, struct state *s) {
    add_all(data, n, type, AVX2, s);
}
#endif

static void add_values(const void *data, int64_t n, int type, struct state *s) {
    switch (best_version()) {
#if X86_VERSIONS >= 2
    case AVX512: add_all_avx512((const char *)data, n, type, s); break;
#endif
#if X86_VERSIONS >= 1
    case AVX2: add_all_avx2((const char *)data, n, type, s); break;
#endif
    default: add_all((const char *)data, n, type, PLAIN, s);
    }
}

/* ---- rows ----------------------------------------------------------------------------------- */

static void begin(struct state *s, int code) {
    memset(s, 0, offsetof(struct state, histogram));
    s->min = INFINITY;
    s->max = -INFINITY;
    s->with_histogram = (code & HISTOGRAM) != 0;
    if (s->with_histogram) memset(s->histogram, 0, sizeof s->histogram);
}

/* repeat: how often every value read stands in the tensor (expanded dimensions are read once). */
static void finish(const struct state *s, int64_t n, int64_t repeat, struct row *out) {
    uint64_t times = (uint64_t)repeat;
    int none = (uint64_t)n == s->nan + s->inf;
    out->count = (uint64_t)n * times;
    out->zeros = s->zeros * times;
    out->nan = s->nan * times;
    out->inf = s->inf * times;
    out->subnormals = s->subnormals * times;
    out->min = none ? NAN : s->min;
    out->max = none ? NAN : s->max;
    out->sum = s->sum * (double)repeat;
    out->l1 = s->l1 * (double)repeat;
    double l2 = sqrt(s->squares);
    if (s->big > 0) l2 = hypot(l2, sqrt(s->big) / BIG_SCALE);
    if (s->small > 0) l2 = hypot(l2, sqrt(s->small) / SMALL_SCALE);
    out->l2 = repeat == 1 ? l2 : l2 * sqrt((double)repeat);
    out->has_histogram = (uint64_t)s->with_histogram;
    if (s->with_histogram)
        for (int k = 0; k < BINS; k++) out->histogram[k] = s->histogram[k] * times;
}

static int refused(const void *data, int64_t n, int type) {
    return type < 0 || type >= TYPES || n < 0 || (n && !data);
}

/* Version of this interface; the caller refuses another. */
EXPORT int gw_abi(void) { return ABI; }

/* ---- rows back to columns --------------------------------------------------------------------- */

static const struct row *row_at(const struct row *const *chunks, int64_t chunk_rows, int64_t number) {
    return chunks[number / chunk_rows] + number % chunk_rows;
}

/* The heads of n rows, by their numbers, column by column: counts (5, n) as they stand in a row, floats (5, n):
 * min, max, mean of the finite values, l1, l2. The numbers are the caller's to check. */
EXPORT int gw_columns(int64_t n, const int64_t *numbers, const struct row *const *chunks, int64_t chunk_rows,
                      uint64_t *RESTRICT counts, double *RESTRICT floats) {
    for (int64_t i = 0; i < n; i++) {
        const struct row *row = row_at(chunks, chunk_rows, numbers[i]);
        counts[i] = row->count;
        counts[n + i] = row->zeros;
        counts[2 * n + i] = row->nan;
        counts[3 * n + i] = row->inf;
        counts[4 * n + i] = row->subnormals;
        floats[i] = row->min;
        floats[n + i] = row->max;
        floats[2 * n + i] = row->sum / (double)(row->count - row->nan - row->inf);
        floats[3 * n + i] = row->l1;
        floats[4 * n + i] = row->l2;
    }
    return 0;
}

static uint8_t code_of(uint64_t count) {
    double code = 1 + rint(8 * log2((double)count));
    return (uint8_t)(code < 255 ? code : 255);
}

/* The histograms of n rows as bytes, (n, BINS): table has the bytes of the counts below table_size. */
EXPORT int gw_codes(int64_t n, const int64_t *numbers, const struct row *const *chunks, int64_t chunk_rows,
                    const uint8_t *table, int64_t table_size, uint8_t *RESTRICT codes) {
    for (int64_t i = 0; i < n; i++) {
        const struct row *row = row_at(chunks, chunk_rows, numbers[i]);
        uint8_t *to = codes + i * BINS;
        if (!row->has_histogram) {
            memset(to, 0, BINS);
            continue;
        }
        for (int k = 0; k < BINS; k++) {
            uint64_t found = row->histogram[k];
            to[k] = found < (uint64_t)table_size ? table[found] : code_of(found);
        }
    }
    return 0;
}

/* n elements at data, each standing for `repeat` of the tensor. 0, or -1 where the arguments do not fit. */
EXPORT int gw_repeated(const void *data, int64_t n, int code, int64_t repeat, struct row *out) {
    if (refused(data, n, code & 255)) return -1;
    struct state s;
    begin(&s, code);
    add_values(data, n, code & 255, &s);
    finish(&s, n, repeat, out);
    return 0;
}

/* ---- the worst value alone ------------------------------------------------------------------- */

#define HIGHEST(TYPE, MASK) \
    do { \
        const TYPE *u = (const TYPE *)data + at; \
        TYPE high = 0; \
        for (int i = 0; i < count; i++) { \
            TYPE a = (TYPE)(u[i] & (MASK)); \
            high = a > high ? a : high; \
        } \
        found = high; \
    } while (0)

INLINE int find_level(const void *data, int64_t n, int type) {
    int level = 0;
    uint64_t found = 0, infinity = type == F32 ? F32_INF : type == F64 ? F64_INF : type == BF16 ? 0x7f80u : 0x7c00u;
    if (type > F16) return 0;
    for (int64_t at = 0; at < n && level < 2; at += BLOCK) {
        int count = n - at < BLOCK ? (int)(n - at) : BLOCK;
        if (type == F32)
            HIGHEST(uint32_t, 0x7fffffffu);
        else if (type == F64)
            HIGHEST(uint64_t, 0x7fffffffffffffffull);
        else
            HIGHEST(uint16_t, 0x7fffu);
        if (found >= infinity) level = found > infinity ? 2 : 1;
    }
    return level;
}

#if X86_VERSIONS >= 2
TARGET_AVX512 static int find_level_avx512(const void *data, int64_t n, int type) { return find_level(data, n, type); }
#endif
#if X86_VERSIONS >= 1
TARGET_AVX2 static int find_level_avx2(const void *data, int64_t n, int type) { return find_level(data, n, type); }
#endif

/* How bad the worst value of a tensor is: 2 where there is a NaN, else 1 where there is an Inf, else 0;
 * -1 for what is refused. One pass over the bits, which ends at the first block with a NaN. */
EXPORT int gw_level(const void *data, int64_t n, int code) {
    int type = code & 255;
    if (refused(data, n, type)) return -1;
    switch (best_version()) {
#if X86_VERSIONS >= 2
    case AVX512: return find_level_avx512(data, n, type);
#endif
#if X86_VERSIONS >= 1
    case AVX2: return find_level_avx2(data, n, type);
#endif
    default: return find_level(data, n, type);
    }
}

EXPORT int gw_statistics(const void *data, int64_t n, int code, struct row *out) {
    return gw_repeated(data, n, code, 1, out);
}

/* All tensors of one optimizer or backward in one call. Returns how many were refused (rows zeroed). */
EXPORT int gw_statistics_many(int64_t tensors, const void *const *data, const int64_t *numel, const int *code,
                              struct row *const *rows) {
    int failed = 0;
    for (int64_t t = 0; t < tensors; t++)
        if (gw_repeated(data[t], numel[t], code[t], 1, rows[t])) {
            memset(rows[t], 0, sizeof *rows[t]);
            failed++;
        }
    return failed;
}

/* A view with holes: values are gathered block by block. Sizes and strides in elements, outermost first. */
EXPORT int gw_strided(const void *data, int dimensions, const int64_t *size, const int64_t *stride, int code,
                      int64_t repeat, struct row *out) {
    int type = code & 255;
    int64_t n = 1, index[MAX_DIMENSIONS] = {0}, offset = 0;
    if (dimensions < 1 || dimensions > MAX_DIMENSIONS || refused(data, 1, type)) return -1;
    for (int d = 0; d < dimensions; d++) n *= size[d];
    int bytes = ELEMENT_BYTES[type];
    double gathered[BLOCK]; /* doubles, so that every type is aligned */
    struct state s;
    begin(&s, code);
    int64_t inner = stride[dimensions - 1] * bytes, left = n;
    while (left > 0) {
        int filled = 0;
        while (filled < BLOCK && left > 0) {
            int64_t run = size[dimensions - 1] - index[dimensions - 1];
            if (run > BLOCK - filled) run = BLOCK - filled;
            const char *from = (const char *)data + offset * bytes;
            char *to = (char *)gathered + (int64_t)filled * bytes;
            if (inner == bytes)
                memcpy(to, from, (size_t)(run * bytes));
            else if (bytes == 4)
                for (int64_t i = 0; i < run; i++) memcpy(to + i * 4, from + i * inner, 4);
            else if (bytes == 2)
                for (int64_t i = 0; i < run; i++) memcpy(to + i * 2, from + i * inner, 2);
            else
                for (int64_t i = 0; i < run; i++) memcpy(to + i * 8, from + i * inner, 8);
            filled += (int)run;
            left -= run;
            int d = dimensions - 1;
            index[d] += run;
            offset += run * stride[d];
            while (d > 0 && index[d] == size[d]) {
                offset += stride[d - 1] - index[d] * stride[d];
                index[d] = 0;
                index[--d]++;
            }
        }
        add_values(gathered, filled, type, &s);
    }
    finish(&s, n, repeat, out);
    return 0;
}

/* Types of one byte: values are counted by code, then weighed. table: the value of each of the 256 codes;
 * smallest_normal: of the tensor's type (0 for integers). */
EXPORT int gw_bytes(const uint8_t *data, int64_t n, const double *table, double smallest_normal, int code,
                    struct row *out) {
    if (n < 0 || (n && !data)) return -1;
    uint64_t seen[4][256];
    memset(seen, 0, sizeof seen);
    for (int64_t i = 0; i < n; i++) seen[i & 3][data[i]]++;
    struct state s;
    begin(&s, code);
    for (int k = 0; k < 256; k++) {
        uint64_t found = seen[0][k] + seen[1][k] + seen[2][k] + seen[3][k];
        double value = table[k], size = fabs(value), times = (double)found;
        if (!found) continue;
        if (isnan(value)) {
            s.nan += found;
        } else if (isinf(value)) {
            s.inf += found;
        } else {
            s.zeros += size == 0 ? found : 0;
            s.subnormals += size > 0 && size < smallest_normal ? found : 0;
            s.min = value < s.min ? value : s.min;
            s.max = value > s.max ? value : s.max;
            s.sum += value * times;
            s.l1 += size * times;
            s.squares += value * value * times;
            if (s.with_histogram && size > 0) s.histogram[clamped_bin(ilogb(value))] += found;
        }
    }
    finish(&s, n, 1, out);
    return 0;
}

/* ---- what an optimizer changed ---------------------------------------------------------------- */

/* Where the c-th run of a sample starts: one run in each of SAMPLE_CELLS equal cells, at a place that
 * moves by the golden ratio, so that a sample never follows one column of a matrix. */
static int64_t run_start(int64_t n, int64_t c) {
    int64_t cell = n / SAMPLE_CELLS, extra = n % SAMPLE_CELLS;
    int64_t start = c * cell + (c * extra) / SAMPLE_CELLS;
    uint32_t turn = (uint32_t)c * 2654435769u;
    return start + (int64_t)(((uint64_t)turn * (uint64_t)(cell - SAMPLE_RUN + 1)) >> 32);
}

/* Copies the sample of every tensor to buffer + offset[t] bytes: all elements where numel <= 16384, else
 * 1024 runs of 16. Room for min(numel, 16384) elements of the tensor's own type each. Returns how many
 * tensors were refused (no data, or a type that is no float); their place in the buffer is left as it is. */
EXPORT int gw_sample(int64_t tensors, const void *const *data, const int64_t *numel, const int *type,
                     const int64_t *offset, char *buffer) {
    int failed = 0;
    for (int64_t t = 0; t < tensors; t++) {
        if (refused(data[t], numel[t], type[t]) || type[t] > F16) {
            failed++;
            continue;
        }
        const char *from = (const char *)data[t];
        char *to = buffer + offset[t];
        size_t bytes = (size_t)ELEMENT_BYTES[type[t]];
        if (numel[t] <= SAMPLE_ALL) {
            if (numel[t]) memcpy(to, from, (size_t)numel[t] * bytes);
            continue;
        }
        for (int64_t c = 0; c < SAMPLE_CELLS; c++)
            memcpy(to + (size_t)c * SAMPLE_RUN * bytes, from + (size_t)run_start(numel[t], c) * bytes, SAMPLE_RUN * bytes);
    }
    return failed;
}

static double value_at(const char *at, int type) {
    switch (type) {
    case F32: { float v; memcpy(&v, at, 4); return v; }
    case F64: { double v; memcpy(&v, at, 8); return v; }
    case BF16: {
        uint16_t h;
        float v;
        memcpy(&h, at, 2);
        uint32_t bits = (uint32_t)h << 16;
        memcpy(&v, &bits, 4);
        return v;
    }
    case F16: { uint16_t h; memcpy(&h, at, 2); return half_to_float(h); }
    default: return NAN;
    }
}

static void add_change(const char *before, const char *after, int64_t n, int type, double *squares) {
    int bytes = ELEMENT_BYTES[type];
    double kept[4] = {0}, change[4] = {0};
    for (int64_t i = 0; i < n; i++) {
        double a = value_at(before + i * bytes, type), d = value_at(after + i * bytes, type) - a;
        kept[i & 3] += a * a;
        change[i & 3] += d * d;
    }
    squares[0] += (kept[0] + kept[1]) + (kept[2] + kept[3]);
    squares[1] += (change[0] + change[1]) + (change[2] + change[3]);
}

/* After the step: squares[2 t] is the sum of squares of the sample before, squares[2 t + 1] of its change;
 * NaN for tensors that are refused, whose number is returned. */
EXPORT int gw_update(int64_t tensors, const void *const *data, const int64_t *numel, const int *type,
                     const int64_t *offset, const char *buffer, double *squares) {
    int failed = 0;
    for (int64_t t = 0; t < tensors; t++) {
        if (refused(data[t], numel[t], type[t]) || type[t] > F16) {
            squares[2 * t] = squares[2 * t + 1] = NAN;
            failed++;
            continue;
        }
        const char *before = buffer + offset[t], *after = (const char *)data[t];
        int bytes = ELEMENT_BYTES[type[t]];
        squares[2 * t] = squares[2 * t + 1] = 0;
        if (numel[t] <= SAMPLE_ALL) {
            add_change(before, after, numel[t], type[t], squares + 2 * t);
            continue;
        }
        for (int64_t c = 0; c < SAMPLE_CELLS; c++)
            add_change(before + c * SAMPLE_RUN * bytes, after + run_start(numel[t], c) * bytes, SAMPLE_RUN, type[t],
                       squares + 2 * t);
    }
    return failed;
}

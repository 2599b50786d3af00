/* What calibration does with every value of every tensor: its channel's range and sum, and a bin of |x|.
 *
 * hatch_build.py compiles it when the package is installed, where there is a C compiler; counting.py loads it. Called
 * through ctypes, it lets other threads run meanwhile. Ranges and counts are those of counting.py's numpy form to the
 * last bit; sums are to rounding.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

#define BINS 4096
#define SOME 1024             /* values whose bins are held at a time */
#define TABLES 4              /* of counts: equal neighbours, such as zeros, would wait for each other in one */
#define MOST (INT64_C(1) << 30)
#define WIDE 4                /* floats in a vector register of any processor */
#define LANES 2               /* such registers worked on at once: none waits for the one before */
#define SUMMED 256            /* values added up in a float before a double takes them */

/* counting.py loads no other form than the one it was written for. */
int32_t trtbuild_counting_form(void) { return 1; }

typedef float vec __attribute__((vector_size(4 * WIDE)));
typedef int32_t mask __attribute__((vector_size(4 * WIDE)));

static inline vec choose(mask which, vec left, vec right)
{
    return (vec)((which & (mask)left) | (~which & (mask)right));
}

/* Range, sum and squares of the n values of one channel. */
static void take_run(const float *x, int64_t n, float *low, float *high, double *sum, double *squares)
{
    vec lows[LANES], highs[LANES];
    for (int k = 0; k < LANES; k++) {
        lows[k] = (vec){*low, *low, *low, *low};
        highs[k] = (vec){*high, *high, *high, *high};
    }
    for (int64_t start = 0; start < n; start += SUMMED * LANES * WIDE) {
        vec sums[LANES] = {{0}}, squared[LANES] = {{0}};
        int64_t left = n - start, end = left < SUMMED * LANES * WIDE ? n : start + SUMMED * LANES * WIDE, i = start;
        for (; i + LANES * WIDE <= end; i += LANES * WIDE)
            for (int k = 0; k < LANES; k++) {
                vec value;
                memcpy(&value, x + i + k * WIDE, sizeof value);
                lows[k] = choose(value < lows[k], value, lows[k]);
                highs[k] = choose(value > highs[k], value, highs[k]);
                sums[k] += value;
                squared[k] += value * value;
            }
        for (; i < end; i++) {
            lows[0][0] = x[i] < lows[0][0] ? x[i] : lows[0][0];
            highs[0][0] = x[i] > highs[0][0] ? x[i] : highs[0][0];
            sums[0][0] += x[i];
            squared[0][0] += x[i] * x[i];
        }
        for (int k = 0; k < LANES; k++)
            for (int w = 0; w < WIDE; w++) {
                *sum += sums[k][w];
                *squares += squared[k][w];
            }
    }
    for (int k = 0; k < LANES; k++)
        for (int w = 0; w < WIDE; w++) {
            *low = lows[k][w] < *low ? lows[k][w] : *low;
            *high = highs[k][w] > *high ? highs[k][w] : *high;
        }
}

/* Takes a row of n channels, each into its own place of the others. */
static void take_row(const float *restrict x, int64_t n, float *restrict low, float *restrict high,
                     float *restrict sum, float *restrict squares)
{
    for (int64_t c = 0; c < n; c++) {
        low[c] = x[c] < low[c] ? x[c] : low[c];
        high[c] = x[c] > high[c] ? x[c] : high[c];
        sum[c] += x[c];
        squares[c] += x[c] * x[c];
    }
}

/* Range and sum of each channel of x[rows][channels][inner], and the sum of all squares.
 *
 * low, high and total have room for the channels; room has space for twice as many floats. Where a value is NaN or Inf,
 * so are the squares, and nothing else is of use. */
void trtbuild_moments(const float *x, int64_t rows, int64_t channels, int64_t inner, float *low, float *high,
                      double *total, double *squares, float *room)
{
    *squares = 0;
    for (int64_t c = 0; c < channels; c++) {
        low[c] = INFINITY;
        high[c] = -INFINITY;
        total[c] = 0;
    }
    if (inner > 1) {
        for (int64_t row = 0; row < rows; row++)
            for (int64_t c = 0; c < channels; c++)
                take_run(x + (row * channels + c) * inner, inner, low + c, high + c, total + c, squares);
        return;
    }
    for (int64_t first = 0; first < rows; first += SUMMED) {
        int64_t end = rows - first < SUMMED ? rows : first + SUMMED;
        memset(room, 0, 2 * (size_t)channels * sizeof *room);
        for (int64_t row = first; row < end; row++)
            take_row(x + row * channels, channels, low, high, room, room + channels);
        for (int64_t c = 0; c < channels; c++) {
            total[c] += room[c];
            *squares += room[channels + c];
        }
    }
}

static void count_each(const float *x, int64_t n, float scale, int64_t *counts)
{
    for (int64_t i = 0; i < n; i++)
        counts[(int32_t)(fabsf(x[i]) * scale) & (BINS - 1)]++;
}

/* Adds one to counts[floor(|x| * scale)] for each of n finite values. The masks change no bin of a value that the range
 * holds: no other value writes beyond the counts either. */
void trtbuild_count(const float *x, int64_t n, float scale, int64_t *counts)
{
    uint32_t tables[TABLES][BINS];
    int32_t bins[SOME];
    if (n < BINS) {
        count_each(x, n, scale, counts);
        return;
    }
    for (int64_t first = 0; first < n; first += MOST) {
        int64_t end = n - first < MOST ? n : first + MOST, start = first;
        memset(tables, 0, sizeof tables);
        for (; start + SOME <= end; start += SOME) {
            for (int i = 0; i < SOME; i++)
                bins[i] = (int32_t)(fabsf(x[start + i]) * scale) & (BINS - 1);
            for (int i = 0; i < SOME; i += TABLES)
                for (int t = 0; t < TABLES; t++)
                    tables[t][bins[i + t]]++;
        }
        count_each(x + start, end - start, scale, counts);
        for (int64_t b = 0; b < BINS; b++)
            for (int t = 0; t < TABLES; t++)
                counts[b] += tables[t][b];
    }
}

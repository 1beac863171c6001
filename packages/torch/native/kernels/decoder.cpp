// A whole step of a language model in one call: some tokens, of one sequence or of many, through all layers, to logits. What
// a step needs of the tokens before lies in pages (as vLLM keeps them: Kwon et al. 2023, arXiv 2309.06180).
//
// Layers of two kinds of attention: multi-head latent attention with the up-projections absorbed (DeepSeek-V2, arXiv
// 2405.04434 §2.1.2) and grouped-query attention; and of two kinds of feed-forward blocks: dense SwiGLU and a mixture of
// experts (DeepSeek-V3, arXiv 2412.19437 §2.1.2). The same function as the model's `step` in plain operators.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "columns.h"
#include "line_vector.h"
#include "math.h"
#include "own_memory.h"
#include "packed_columns.h"
#include "paged_attention.h"
#include "paged_tiles.h"
#include "team.h"

namespace dunwu {
namespace {

/// What the model is made of, by name: `layers.0.kv_b` and so on.
struct Parts {
  std::unordered_map<std::string, at::Tensor> tensors;
  std::unordered_map<std::string, double> settings;

  at::Tensor tensor(const std::string& name) const {
    const auto found = tensors.find(name);
    TORCH_CHECK(found != tensors.end(), "decoder: there is no tensor ", name);
    return found->second;
  }
  bool has(const std::string& name) const { return tensors.count(name) > 0; }
  double setting(const std::string& name) const {
    const auto found = settings.find(name);
    TORCH_CHECK(found != settings.end(), "decoder: there is no setting ", name);
    return found->second;
  }
  int64_t whole(const std::string& name) const { return static_cast<int64_t>(setting(name)); }
};

/// Weights as they are multiplied with.
template <typename W>
using Weights = std::conditional_t<std::is_same_v<W, c10::BFloat16>, ShortMatrix, Matrix<float>>;

template <typename W>
Matrix<W> matrix(const at::Tensor& weight) {
  const at::Tensor flat = weight.dim() == 2 ? weight : weight.reshape({-1, weight.size(-1)});
  return {flat.const_data_ptr<W>(), flat.size(0), flat.size(1), flat.size(1), 1};
}

/// Rows first..first + count of a matrix; whole tiles.
template <typename M>
M rows_of(M part, int64_t first, int64_t count) {
  part.rows = count;
  if (part.data != nullptr) part.data += first * part.row;
  if constexpr (std::is_same_v<M, ShortMatrix>) {
    if (part.tiles != nullptr) part.tiles += first * part.columns;
  }
  return part;
}

/// A linear layer; a vector alone is a norm's weight.
template <typename W>
struct Linear {
  Weights<W> weight;
  const float* bias = nullptr;
};

template <typename W>
struct Layer {
  const float* input_norm = nullptr;
  const float* post_norm = nullptr;
  // Latent attention.
  Linear<W> query_a, query_b, kv_a;
  const float* query_norm = nullptr;
  const float* kv_norm = nullptr;
  Matrix<W> kv_b;
  // Grouped-query attention; its query_norm and key_norm are those of Qwen3.
  Linear<W> qkv;
  const float* key_norm = nullptr;
  Linear<W> output;
  // Feed-forward.
  Linear<W> gate_up, down;
  Matrix<float> router;
  const float* router_bias = nullptr;
  Weights<W> experts_gate_up, experts_down;
  bool dense = true, compressed = false;
};

/// Memory that grows and is kept from step to step.
template <typename T>
struct Scratch {
  LineVector<T> memory;
  T* take(int64_t count) {
    if (static_cast<int64_t>(memory.size()) < count) memory.assign(count, T(0.0f));
    return memory.data();
  }
};

/// A column is a token: of another sequence each when decoding, several neighbours of one sequence when a prompt is read.
struct StepInputs {
  const int32_t* tokens;
  /// Tokens of the column's sequence up to this one, it included.
  const int32_t* lengths;
  /// Which sequence a column belongs to: a row of `pages`.
  const int32_t* sequences;
  const int32_t* pages;
  int64_t columns, pages_per_sequence;
  /// Columns whose logits are wanted.
  const int32_t* wanted;
  int64_t wanted_count;
  const float *cosine, *sine;
  /// In the decoder's own type.
  std::vector<void*> cache;
  int64_t page_stride;
};

struct Decoder {
  virtual ~Decoder() = default;
  virtual void step(const StepInputs& in, float* logits, int64_t threads) = 0;
  int64_t layers = 0, vocabulary = 0, entry_width = 0, rotary_half = 0, hidden_width = 0;
  at::ScalarType cache_type = at::kFloat;
};

template <typename W>
class TypedDecoder : public Decoder {
 public:
  explicit TypedDecoder(const Parts& parts) {
    if constexpr (std::is_same_v<W, c10::BFloat16>) {
      on_units_ = has_tiles();
      if (on_units_) head_block_ = kMostTileHeads;
    }
    layers = parts.whole("layers");
    cache_type = c10::CppTypeToScalarType<W>::value;
    hidden_ = hidden_width = parts.whole("hidden");
    eps_ = static_cast<float>(parts.setting("eps"));
    heads_ = parts.whole("heads");
    scale_ = static_cast<float>(parts.setting("scale"));
    latent_ = parts.whole("latent") != 0;
    interleaved_ = parts.whole("rope_interleaved") != 0;
    rotary_half = parts.whole("rope_width") / 2;
    if (latent_) {
      nope_ = parts.whole("nope_width");
      rank_ = parts.whole("rank");
      value_width_ = parts.whole("value_width");
      entry_width = padded(rank_ + 2 * rotary_half);
    } else {
      groups_ = parts.whole("groups");
      head_width_ = parts.whole("head_width");
      entry_width = 2 * groups_ * padded(head_width_);
    }
    experts_ = parts.whole("experts");
    if (experts_ > 0) {
      top_k_ = parts.whole("top_k");
      expert_groups_ = parts.whole("expert_groups");
      open_groups_ = parts.whole("open_groups");
      normalise_ = parts.whole("normalise_weights") != 0;
      routed_scale_ = static_cast<float>(parts.setting("routed_scale"));
      inner_ = parts.whole("expert_width");
    }
    head_ = weight(parts, "head");
    if (parts.has("embedding")) {
      if (const at::Tensor embedding = parts.tensor("embedding"); embedding.scalar_type() == at::kFloat)
        exact_embedding_ = own(embedding).template const_data_ptr<float>();
      else
        embedding_ = own(embedding.to(c10::CppTypeToScalarType<W>::value)).template const_data_ptr<W>();
    }
    vocabulary = head_.rows;
    final_norm_ = vector(parts, "norm");
    for (int64_t i = 0; i < layers; ++i) layer_.push_back(read(parts, "layers." + std::to_string(i) + "."));
  }

  void step(const StepInputs& in, float* logits, int64_t threads) override {
    const int64_t width = padded(in.columns);
    const Room room = rooms(width, in, threads);
    together(threads, [&](const Team& team) {
      if (on_units_) open_tiles();
      embed(team, in, width, room);
      for (int64_t i = 0; i < layers; ++i) {
        const Layer<W>& layer = layer_[i];
        enter(team, room.x, layer.input_norm, width, room);
        if (latent_)
          latent_attention(team, layer, in, static_cast<W*>(in.cache[i]), width, room);
        else
          grouped_attention(team, layer, in, static_cast<W*>(in.cache[i]), width, room);
        enter(team, room.x, layer.post_norm, width, room);
        if (layer.dense)
          feed_forward(team, layer, width, room);
        else
          mixture(team, layer, in.columns, width, room);
      }
      if (in.wanted_count == 0) {
        if (on_units_) close_tiles();
        return;
      }
      const int64_t last = padded(in.wanted_count);
      {
        const auto [begin, end] = team.share(hidden_);
        for (int64_t k = begin; k < end; ++k)
          for (int64_t i = 0; i < last; ++i) room.first[k * last + i] = i < in.wanted_count ? room.x[k * width + in.wanted[i]] : 0.0f;
      }
      team.meet();
      enter(team, room.first, final_norm_, last, room);
      // Rows of logits, as samplers want them: some at a time, while they are near.
      const int64_t piece = on_units_ ? kTileRows : kAccumulators, most = kNearRows / piece * piece;
      const auto [begin, end] = team.share(vocabulary, piece);
      float* near = room.own[team.member];
      for (int64_t v = begin; v < end; v += most) {
        const int64_t rows = std::min(most, end - v);
        apply_rows({head_, nullptr}, v, v + rows, room.normed, last, near - v * last, room.packed);
        for (int64_t m = 0; m < in.wanted_count; m += kColumnBlock) {
          const int64_t count = std::min(kColumnBlock, in.wanted_count - m);
          if (count == kColumnBlock)
            columns_from(near + m, last, rows, logits + m * vocabulary + v, vocabulary);
          else
            for (int64_t i = 0; i < count; ++i)
              for (int64_t j = 0; j < rows; ++j) logits[(m + i) * vocabulary + v + j] = near[j * last + m + i];
        }
      }
      if (on_units_) close_tiles();
    });
  }

 private:
  /// Rows that are computed at a time, while they are near, at most: of gates, and as many of ups; or of logits.
  static constexpr int64_t kNearRows = 72;

  /// Where the step's intermediate results lie, feature by feature.
  struct Room {
    float *x, *normed, *first, *second, *third, *outputs;
    /// Operands of the next products, for matrix units.
    c10::BFloat16 *packed, *other_packed;
    int32_t* chosen;
    float* weights;
    std::vector<float*> own;
  };

  const at::Tensor& own(const at::Tensor& tensor) {
    kept_.push_back(tensor);
    return kept_.back();
  }

  /// A vector in float32, or null when there is none.
  const float* vector(const Parts& parts, const std::string& name) {
    if (!parts.has(name)) return nullptr;
    return own(parts.tensor(name).to(at::kFloat).contiguous()).template const_data_ptr<float>();
  }

  /// Weights as they are, or in tiles (`decoder_tiles`); those of another type are copied.
  Weights<W> weight(const Parts& parts, const std::string& name) {
    if constexpr (std::is_same_v<W, c10::BFloat16>) {
      if (parts.has(name + "_tiles")) {
        const at::Tensor& tiles = own(parts.tensor(name + "_tiles"));
        const int64_t columns = tiles.size(-1);
        return {{nullptr, tiles.numel() / columns, columns, columns, 1}, tiles.const_data_ptr<c10::BFloat16>()};
      }
      return {matrix<W>(own(parts.tensor(name).to(at::kBFloat16))), nullptr};
    } else {
      return matrix<W>(own(parts.tensor(name).to(at::kFloat)));
    }
  }

  Linear<W> linear(const Parts& parts, const std::string& name) { return {weight(parts, name), vector(parts, name + "_bias")}; }

  Layer<W> read(const Parts& parts, const std::string& at) {
    Layer<W> layer;
    layer.input_norm = vector(parts, at + "input_norm");
    layer.post_norm = vector(parts, at + "post_norm");
    if (latent_) {
      layer.compressed = parts.has(at + "query_a") || parts.has(at + "query_a_tiles");
      if (layer.compressed) layer.query_a = linear(parts, at + "query_a");
      layer.query_norm = vector(parts, at + "query_norm");
      layer.query_b = linear(parts, at + "query_b");
      layer.kv_a = linear(parts, at + "kv_a");
      layer.kv_norm = vector(parts, at + "kv_norm");
      layer.kv_b = matrix<W>(own(parts.tensor(at + "kv_b").to(c10::CppTypeToScalarType<W>::value)));
    } else {
      layer.qkv = linear(parts, at + "qkv");
      layer.query_norm = vector(parts, at + "query_norm");
      layer.key_norm = vector(parts, at + "key_norm");
    }
    layer.output = linear(parts, at + "output");
    layer.dense = !parts.has(at + "router");
    if (parts.has(at + "gate_up") || parts.has(at + "gate_up_tiles")) {
      layer.gate_up = linear(parts, at + "gate_up");
      layer.down = linear(parts, at + "down");
    }
    if (!layer.dense) {
      layer.router = matrix<float>(own(parts.tensor(at + "router").to(at::kFloat).contiguous()));
      layer.router_bias = vector(parts, at + "router_bias");
      layer.experts_gate_up = weight(parts, at + "experts_gate_up");
      layer.experts_down = weight(parts, at + "experts_down");
    }
    return layer;
  }

  Room rooms(int64_t width, const StepInputs& in, int64_t threads) {
    int64_t first = hidden_, second = hidden_, third = hidden_;
    for (const Layer<W>& layer : layer_) {
      const int64_t inner = layer.gate_up.weight.rows;
      first = std::max({first, layer.query_a.weight.rows, layer.qkv.weight.rows, heads_ * rank_});
      second = std::max({second, layer.query_b.weight.rows, inner / 2, heads_ * value_width_, heads_ * head_width_});
      third = std::max({third, layer.kv_a.weight.rows, heads_ * rank_, experts_});
    }
    const int64_t pairs = padded(in.columns * std::max<int64_t>(top_k_, 1));
    Room room;
    float* at = scratch_.take(width * (2 * hidden_ + first + second + third));
    const auto next = [&](int64_t rows) {
      float* here = at;
      at += rows * width;
      return here;
    };
    room.x = next(hidden_);
    room.normed = next(hidden_);
    room.first = next(first);
    room.second = next(second);
    room.third = next(third);
    // Each pair's output of its expert.
    room.outputs = outputs_.take(experts_ > 0 ? hidden_ * pair_width(in.columns) : 0);
    const int64_t packed = on_units_ ? packed_size(std::max({hidden_, first, second, third}), width) : 0;
    room.packed = packed_.take(2 * packed);
    room.other_packed = room.packed + packed;
    chosen_.resize(pairs);
    weights_.resize(pairs);
    room.chosen = chosen_.data();
    room.weights = weights_.data();
    const int64_t longest = longest_of(in);
    const int64_t heads_near = latent_ ? std::min(heads_, head_block_) : heads_ / groups_, in_width = latent_ ? rank_ + 2 * rotary_half : head_width_;
    const int64_t query_room = latent_ ? entry_width : padded(head_width_), output_room = padded(latent_ ? rank_ : head_width_);
    // 16 columns' numbers as they come, one column's queries, 16 columns' outputs, one column's scores.
    const int64_t attention = heads_near * (kColumnBlock * (in_width + output_room) + query_room + padded(longest)) + (kColumnBlock + 1) * padded(in_width) + paged_tiles_room(longest, query_room);
    // The columns of an expert, its gates and ups, and what they become.
    const int64_t routed = experts_ > 0 ? padded(in.columns) * (hidden_ + 3 * inner_ + std::max(hidden_, inner_)) : 0;
    own_.resize(threads);
    room.own.resize(threads);
    for (int64_t t = 0; t < threads; ++t) room.own[t] = own_[t].take(std::max({attention, routed, 2 * experts_ + expert_groups_, 2 * kNearRows * width}));
    return room;
  }

  /// Columns that the pairs of all experts take, each expert's padded for itself.
  int64_t pair_width(int64_t tokens) const {
    return padded(tokens * top_k_) + kColumnBlock * std::min(experts_, tokens * top_k_);
  }

  void embed(const Team& team, const StepInputs& in, int64_t width, const Room& room) const {
    // Feature by feature, so that a line of x is written at once.
    const auto [begin, end] = team.share(hidden_);
    for (int64_t m = 0; m < width; m += kColumnBlock)
      for (int64_t k = begin; k < end; ++k)
        for (int64_t i = m; i < m + kColumnBlock; ++i) room.x[k * width + i] = i >= in.columns ? 0.0f : wide(embedding(in.tokens[i], k));
    team.meet();
  }

  W embedding(int64_t token, int64_t k) const {
    if (exact_embedding_ != nullptr) return static_cast<W>(exact_embedding_[token * hidden_ + k]);
    if (embedding_ != nullptr) return embedding_[token * hidden_ + k];
    if constexpr (std::is_same_v<W, c10::BFloat16>)
      if (head_.tiles != nullptr) return head_.tiles[tile_place(token, k, hidden_)];
    return head_.data[token * hidden_ + k];
  }

  /// Columns that are no token's: numbers left there could be denormal, and slow.
  static void clear_padding(float* x, int64_t depth, int64_t columns, int64_t width) {
    for (int64_t k = 0; k < depth && columns < width; ++k) std::fill(x + k * width + columns, x + (k + 1) * width, 0.0f);
  }

  /// RMSNorm of each column; to be met after.
  static void normalise(const Team& team, const float* x, float* y, const float* weight, int64_t depth, int64_t width, float eps) {
    // The same columns as those who read them next without a meeting.
    const auto [begin, end] = team.share(width, kColumnBlock);
    for (int64_t m = begin; m < end; m += kLanes) {
      Lanes squares{};
      for (int64_t k = 0; k < depth; ++k) {
        const Lanes value = load(x + k * width + m);
        squares += value * value;
      }
      Lanes inverse;
      for (int64_t i = 0; i < kLanes; ++i) inverse[i] = 1.0f / std::sqrt(squares[i] / static_cast<float>(depth) + eps);
      for (int64_t k = 0; k < depth; ++k) store(y + k * width + m, load(x + k * width + m) * inverse * weight[k]);
    }
  }

  /// What a block begins with: the norm, and its result ready for products; met after.
  void enter(const Team& team, const float* x, const float* weight, int64_t width, const Room& room) const {
    normalise(team, x, room.normed, weight, hidden_, width, eps_);
    // Each its own columns: nobody has to be waited for.
    const auto [first, last] = team.share(width, kColumnBlock);
    if (on_units(hidden_)) pack_pairs(room.normed, 0, hidden_ / 2, first, last, width, room.packed);
    team.meet();
  }

  /// Whether products of this depth are made on matrix units.
  bool on_units(int64_t depth) const { return on_units_ && depth % kTileDepth == 0; }

  /// Makes an operand ready for the products that follow; met after, where there was anything to do.
  void prepare(const Team& team, const float* x, int64_t depth, int64_t width, c10::BFloat16* packed) const {
    if (!on_units(depth)) return;
    const auto [begin, end] = team.share(depth / 2);
    pack_pairs(x, begin, end, 0, width, width, packed);
    team.meet();
  }

  /// Rows begin..end of a product with an operand that was prepared; begin is a whole tile where the weights are in tiles.
  void multiply_prepared(const Weights<W>& w, int64_t begin, int64_t end, const float* x, int64_t width, float* y, bool add, const c10::BFloat16* packed) const {
    if constexpr (std::is_same_v<W, c10::BFloat16>) {
      if (on_units(w.columns)) {
        const int64_t whole = begin + (end - begin) / kTileRows * kTileRows;
        multiply_tiles(w, begin, whole, packed, width, y, add);
        begin = whole;
      }
    }
    multiply_rows(w, begin, end, x, width, y, add);
  }

  /// A linear layer of a prepared operand, into y (or added to it); to be met after.
  void apply(const Team& team, const Linear<W>& layer, const float* x, int64_t width, float* y, const c10::BFloat16* packed, bool add = false) const {
    const auto [begin, end] = team.share(layer.weight.rows, on_units_ ? kTileRows : kAccumulators);
    apply_rows(layer, begin, end, x, width, y, packed, add);
  }

  /// Rows begin..end of it; begin is a whole tile where the weights are in tiles.
  void apply_rows(const Linear<W>& layer, int64_t begin, int64_t end, const float* x, int64_t width, float* y, const c10::BFloat16* packed, bool add = false) const {
    multiply_prepared(layer.weight, begin, end, x, width, y, add, packed);
    if (layer.bias == nullptr) return;
    for (int64_t n = begin; n < end; ++n)
      for (int64_t m = 0; m < width; ++m) y[n * width + m] += layer.bias[n];
  }

  /// Rotates the numbers of a column for its position, into the half layout.
  void turn(const float* x, int64_t position, const StepInputs& in, float* to) const {
    const float *cosine = in.cosine + position * rotary_half, *sine = in.sine + position * rotary_half;
    // A loop for each layout: the compiler makes vectors of steps that it knows.
    if (interleaved_)
      turn_pairs<2>(x, x + 1, cosine, sine, rotary_half, to);
    else
      turn_pairs<1>(x, x + rotary_half, cosine, sine, rotary_half, to);
  }

  template <int STEP>
  static void turn_pairs(const float* x, const float* y, const float* cosine, const float* sine, int64_t count, float* __restrict__ to) {
    for (int64_t i = 0; i < count; ++i) {
      const float a = x[i * STEP], b = y[i * STEP];
      to[i] = a * cosine[i] - b * sine[i];
      to[i + count] = b * cosine[i] + a * sine[i];
    }
  }

  /// This member's part of the attention's items, `parts` for each column, by the number of tokens attended to: the later
  /// tokens of a prompt have more to do than the earlier ones.
  static std::pair<int64_t, int64_t> attention_share(const Team& team, const StepInputs& in, int64_t parts) {
    if (in.columns < 4 * team.size) return team.share(parts * in.columns);
    int64_t total = 0, before = 0;
    for (int64_t m = 0; m < in.columns; ++m) total += in.lengths[m];
    const int64_t low = total * team.member / team.size, high = total * (team.member + 1) / team.size;
    int64_t begin = in.columns, end = in.columns;
    for (int64_t m = 0; m < in.columns; before += in.lengths[m++]) {
      if (before >= low && m < begin) begin = m;
      if (before >= high) {
        end = m;
        break;
      }
    }
    return {begin * parts, std::max(begin, end) * parts};
  }

  static int64_t longest_of(const StepInputs& in) { return *std::max_element(in.lengths, in.lengths + in.columns); }

  static const int32_t* table(const StepInputs& in, int64_t m) { return in.pages + static_cast<int64_t>(in.sequences[m]) * in.pages_per_sequence; }

  /// Where column m's numbers go; `token` numbers apart in their page.
  W* entry(const StepInputs& in, W* cache, int64_t m, int64_t token) const {
    const int64_t position = in.lengths[m] - 1;
    const int64_t page = table(in, m)[position / kPageTokens];
    return cache + page * in.page_stride + position % kPageTokens * token;
  }

  /// A head of column m, in place: the norm of Qwen3 where there is one; then rotated into `to`.
  void place_head(float* x, const float* norm, const StepInputs& in, int64_t m, float* to) const {
    if (norm != nullptr) {
      float squares = 0;
      for (int64_t i = 0; i < head_width_; ++i) squares += x[i] * x[i];
      const float inverse = 1.0f / std::sqrt(squares / static_cast<float>(head_width_) + eps_);
      for (int64_t i = 0; i < head_width_; ++i) x[i] *= inverse * norm[i];
    }
    turn(x, in.lengths[m] - 1, in, to);
  }

  /// `attend`, on matrix units as far as there are heads enough.
  void attend_heads(const Reading<W>& read, float* queries, int64_t heads, float* scores, float* outputs, float* room) const {
    int64_t h = 0;
    if constexpr (std::is_same_v<W, c10::BFloat16>) {
      for (; on_units_ && heads - h >= kLeastTileHeads; h += std::min(heads - h, kMostTileHeads))
        attend_tiles(read, queries + h * read.key_width, std::min(heads - h, kMostTileHeads), scores, outputs + h * read.value_width, room);
    }
    attend(read, queries + h * read.key_width, heads - h, scores, outputs + h * read.value_width);
  }

  void latent_attention(const Team& team, const Layer<W>& layer, const StepInputs& in, W* cache, int64_t width, const Room& room) const {
    const int64_t rope = 2 * rotary_half, query_width = nope_ + rope, both = nope_ + value_width_;
    float *query_latent = room.first, *query = room.second, *kv = room.third;
    if (layer.compressed) apply(team, layer.query_a, room.normed, width, query_latent, room.packed);
    apply(team, layer.kv_a, room.normed, width, kv, room.packed);
    team.meet();
    // The norms on both latents use 1e-6 whatever eps says, as the published code.
    if (layer.compressed) normalise(team, query_latent, query_latent, layer.query_norm, layer.query_a.weight.rows, width, 1e-6f);
    normalise(team, kv, kv, layer.kv_norm, rank_, width, 1e-6f);
    {
      const auto [begin, end] = team.share(width, kColumnBlock);
      const int64_t entry_numbers = rank_ + rope;
      float *near = room.own[team.member], *turned = near + kColumnBlock * entry_numbers;
      for (int64_t m = begin; m < std::min(end, in.columns); ++m) {
        const int64_t lane = m % kColumnBlock;
        if (lane == 0) columns_from(kv + m, width, entry_numbers, near, entry_numbers);
        const float* from = near + lane * entry_numbers;
        turn(from + rank_, in.lengths[m] - 1, in, turned);
        W* to = entry(in, cache, m, entry_width);
        for (int64_t i = 0; i < rank_; ++i) to[i] = static_cast<W>(from[i]);
        for (int64_t i = 0; i < rope; ++i) to[rank_ + i] = static_cast<W>(turned[i]);
        std::fill(to + rank_ + rope, to + entry_width, W(0.0f));  // read with the rest, and what lies there may be no number
      }
    }
    team.meet();
    if (layer.compressed) prepare(team, query_latent, layer.query_a.weight.rows, width, room.packed);
    apply(team, layer.query_b, layer.compressed ? query_latent : room.normed, width, query, room.packed);
    team.meet();
    // The query, moved into the latent space: head by head, the transpose of its key matrix.
    float* moved = room.first;
    {
      const auto [begin, end] = team.share(heads_ * rank_, 8);
      for (int64_t at = begin; at < end;) {
        const int64_t head = at / rank_, from = at % rank_, to = std::min(rank_, from + end - at);
        const Matrix<W> keys{layer.kv_b.data + head * both * rank_, rank_, nope_, 1, rank_};
        multiply_rows(keys, from, to, query + head * query_width * width, width, moved + head * rank_ * width);
        at += to - from;
      }
    }
    team.meet();
    float* mixed = room.third;
    {
      const int64_t parts = (heads_ + head_block_ - 1) / head_block_;
      const auto [begin, end] = attention_share(team, in, parts);
      if (team.member == 0) clear_padding(mixed, heads_ * rank_, in.columns, width);
      const int64_t some = std::min(heads_, head_block_), mixed_width = some * padded(rank_), numbers = rank_ + rope;
      float *near = room.own[team.member], *queries = near + kColumnBlock * some * numbers;
      float *outputs = queries + some * entry_width, *scores = outputs + kColumnBlock * mixed_width;
      float* tiles_room = scores + some * padded(longest_of(in));
      if (on_units_) open_attention_tiles();
      std::fill(queries, queries + some * entry_width, 0.0f);
      for (int64_t part = 0; part < parts; ++part) {
        const int64_t first = part * head_block_, count = std::min(head_block_, heads_ - first);
        // The columns whose item of this part is this member's, 16 at a time: their numbers lie a row apart.
        const int64_t low = (begin - part + parts - 1) / parts, high = (end - part + parts - 1) / parts;
        for (int64_t m = low; m < high;) {
          const int64_t block = m / kColumnBlock * kColumnBlock, stop = std::min(high, block + kColumnBlock), from = m - block;
          for (int64_t h = 0; h < count; ++h) {
            columns_from(moved + (first + h) * rank_ * width + block, width, rank_, near + h * numbers, some * numbers);
            columns_from(query + ((first + h) * query_width + nope_) * width + block, width, rope, near + h * numbers + rank_, some * numbers);
          }
          for (; m < stop; ++m) {
            for (int64_t h = 0; h < count; ++h) {
              float *to = queries + h * entry_width, *own = near + (m - block) * some * numbers + h * numbers;
              for (int64_t i = 0; i < numbers; ++i) own[i] *= scale_;
              std::copy(own, own + rank_, to);
              turn(own + rank_, in.lengths[m] - 1, in, to + rank_);
            }
            const auto pages_of = [&](int64_t column) { return Pages<W>{cache, table(in, column), in.page_stride, entry_width, in.lengths[column]}; };
            const Pages<W> next = pages_of(m + 1 < high ? m + 1 : m);
            attend_heads(Reading<W>{pages_of(m), m + 1 < high ? &next : nullptr, 0, entry_width, 0, padded(rank_)}, queries, count, scores, outputs + (m - block) * mixed_width, tiles_room);
          }
          for (int64_t h = 0; h < count; ++h)
            columns_to(outputs + h * padded(rank_), mixed_width, rank_, mixed + (first + h) * rank_ * width + block, width, from, stop - block);
        }
      }
      if (on_units_) open_tiles();
    }
    team.meet();
    float* values = room.second;
    {
      const auto [begin, end] = team.share(heads_ * value_width_, 8);
      for (int64_t at = begin; at < end;) {
        const int64_t head = at / value_width_, from = at % value_width_, to = std::min(value_width_, from + end - at);
        const Matrix<W> up{layer.kv_b.data + (head * both + nope_) * rank_, value_width_, rank_, rank_, 1};
        multiply_rows(up, from, to, mixed + head * rank_ * width, width, values + head * value_width_ * width);
        at += to - from;
      }
    }
    team.meet();
    prepare(team, values, heads_ * value_width_, width, room.packed);
    apply(team, layer.output, values, width, room.x, room.packed, true);
    team.meet();
  }

  void grouped_attention(const Team& team, const Layer<W>& layer, const StepInputs& in, W* cache, int64_t width, const Room& room) const {
    // In a page each head's keys, and then each head's values, lie together.
    const int64_t wide_head = padded(head_width_), part = kPageTokens * wide_head, shared = heads_ / groups_;
    float* qkv = room.first;
    apply(team, layer.qkv, room.normed, width, qkv, room.packed);
    team.meet();
    {
      // The new entries of the cache.
      const auto [begin, end] = team.share(width / kColumnBlock * groups_);
      float* near = room.own[team.member];
      for (int64_t item = begin; item < end; ++item) {
        const int64_t block = item / groups_ * kColumnBlock, group = item % groups_, stop = std::min(in.columns, block + kColumnBlock);
        columns_from(qkv + (heads_ + group) * head_width_ * width + block, width, head_width_, near, head_width_);
        for (int64_t m = block; m < stop; ++m) {
          float* turned = near + kColumnBlock * head_width_;
          place_head(near + (m - block) * head_width_, layer.key_norm, in, m, turned);
          W* key = entry(in, cache, m, wide_head) + group * part;
          for (int64_t i = 0; i < head_width_; ++i) key[i] = static_cast<W>(turned[i]);
          std::fill(key + head_width_, key + wide_head, W(0.0f));  // read with the rest, and what lies there may be no number
        }
        columns_from(qkv + (heads_ + groups_ + group) * head_width_ * width + block, width, head_width_, near, head_width_);
        for (int64_t m = block; m < stop; ++m) {
          W* value = entry(in, cache, m, wide_head) + (groups_ + group) * part;
          for (int64_t i = 0; i < head_width_; ++i) value[i] = static_cast<W>(near[(m - block) * head_width_ + i]);
          std::fill(value + head_width_, value + wide_head, W(0.0f));
        }
      }
    }
    team.meet();
    float* mixed = room.second;
    {
      const auto [begin, end] = attention_share(team, in, groups_);
      if (team.member == 0) clear_padding(mixed, heads_ * head_width_, in.columns, width);
      float *near = room.own[team.member], *queries = near + kColumnBlock * shared * head_width_;
      float *outputs = queries + shared * wide_head, *scores = outputs + kColumnBlock * shared * wide_head;
      float* tiles_room = scores + shared * padded(longest_of(in));
      if (on_units_) open_attention_tiles();
      std::fill(queries, queries + shared * wide_head, 0.0f);
      for (int64_t group = 0; group < groups_; ++group) {
        const int64_t low = (begin - group + groups_ - 1) / groups_, high = (end - group + groups_ - 1) / groups_;
        for (int64_t m = low; m < high;) {
          const int64_t block = m / kColumnBlock * kColumnBlock, stop = std::min(high, block + kColumnBlock), from = m - block;
          columns_from(qkv + group * shared * head_width_ * width + block, width, shared * head_width_, near, shared * head_width_);
          for (; m < stop; ++m) {
            for (int64_t h = 0; h < shared; ++h) {
              float* to = queries + h * wide_head;
              place_head(near + ((m - block) * shared + h) * head_width_, layer.query_norm, in, m, to);
              for (int64_t i = 0; i < head_width_; ++i) to[i] *= scale_;
            }
            const auto pages_of = [&](int64_t column) { return Pages<W>{cache, table(in, column), in.page_stride, wide_head, in.lengths[column]}; };
            const Pages<W> next = pages_of(m + 1 < high ? m + 1 : m);
            attend_heads(Reading<W>{pages_of(m), m + 1 < high ? &next : nullptr, group * part, wide_head, (groups_ + group) * part, wide_head}, queries, shared, scores, outputs + (m - block) * shared * wide_head, tiles_room);
          }
          for (int64_t h = 0; h < shared; ++h)
            columns_to(outputs + h * wide_head, shared * wide_head, head_width_, mixed + (group * shared + h) * head_width_ * width + block, width, from, stop - block);
        }
      }
      if (on_units_) open_tiles();
    }
    team.meet();
    prepare(team, mixed, heads_ * head_width_, width, room.packed);
    apply(team, layer.output, mixed, width, room.x, room.packed, true);
    team.meet();
  }

  /// silu(gate) · up of rows begin..end, of `count` rows each.
  static void swiglu(const float* gate_up, float* y, int64_t begin, int64_t end, int64_t count, int64_t width) {
    for (int64_t n = begin; n < end; ++n) {
      const float *gate = gate_up + n * width, *up = gate + count * width;
      for (int64_t m = 0; m < width; ++m) y[n * width + m] = gate[m] * sigmoid(gate[m]) * up[m];
    }
  }

  void feed_forward(const Team& team, const Layer<W>& layer, int64_t width, const Room& room) const {
    gated(team, layer.gate_up, width, room);
    team.meet();
    apply(team, layer.down, room.second, width, room.x, room.other_packed, true);
    team.meet();
  }

  /// silu(gate) · up into `second`, and ready for the product that follows; to be met after. Some rows at a time, so that gates and ups are
  /// still near when they are read.
  void gated(const Team& team, const Linear<W>& layer, int64_t width, const Room& room) const {
    const int64_t inner = layer.weight.rows / 2, piece = on_units_ ? kTileRows : kAccumulators;
    const int64_t most = std::clamp(inner / team.size / piece * piece, piece, kNearRows / piece * piece);
    const auto [begin, end] = team.share(inner, most);
    float *gates = room.own[team.member], *y = room.second;
    for (int64_t n = begin; n < end; n += most) {
      const int64_t rows = std::min(most, end - n);
      apply_rows(layer, n, n + rows, room.normed, width, gates - n * width, room.packed);
      apply_rows(layer, inner + n, inner + n + rows, room.normed, width, gates + (rows - inner - n) * width, room.packed);
      swiglu(gates, y + n * width, 0, rows, rows, width);
      if (on_units(inner)) pack_pairs(y, n / 2, (n + rows) / 2, 0, width, width, room.other_packed);
    }
  }

  /// Some columns of x [rows, width], and zeros up to `columns` of them.
  template <typename T>
  static void gather(const T* x, int64_t rows, int64_t width, const int32_t* which, int64_t count, T* to, int64_t columns) {
    for (int64_t k = 0; k < rows; ++k, x += width, to += columns) {
      for (int64_t i = 0; i < count; ++i) to[i] = x[which[i]];
      for (int64_t i = count; i < columns; ++i) to[i] = 0;
    }
  }

  void mixture(const Team& team, const Layer<W>& layer, int64_t tokens, int64_t width, const Room& room) const {
    multiply(team, layer.router, room.normed, width, room.third);
    const bool has_shared = layer.gate_up.weight.rows > 0;
    if (has_shared) gated(team, layer.gate_up, width, room);
    team.meet();
    {
      const auto [begin, end] = team.share(tokens);
      for (int64_t m = begin; m < end; ++m) choose(layer, room.third, width, m, room.chosen + m * top_k_, room.weights + m * top_k_, room.own[team.member]);
    }
    team.meet();
    // Who goes where: the same lists on every thread, which is cheaper than to wait for one.
    const int64_t pairs = tokens * top_k_;
    std::vector<int64_t> start(experts_ + 1, 0), count(experts_, 0), place(pairs);
    for (int64_t p = 0; p < pairs; ++p) ++count[room.chosen[p]];
    for (int64_t e = 0; e < experts_; ++e) start[e + 1] = start[e] + padded(count[e]);
    const int64_t total = start[experts_];
    std::vector<int32_t> members(pairs);
    std::vector<int64_t> from(experts_, 0);
    for (int64_t e = 1; e < experts_; ++e) from[e] = from[e - 1] + count[e - 1];
    {
      std::vector<int64_t> next = from;
      for (int64_t p = 0; p < pairs; ++p) {
        const int64_t e = room.chosen[p];
        place[p] = start[e] + next[e] - from[e];
        members[next[e]++] = static_cast<int32_t>(p / top_k_);
      }
    }
    float* outputs = room.outputs;
    {
      float* own = room.own[team.member];
      const int64_t most = padded(tokens);
      float *inputs = own, *gates = own + hidden_ * most, *inner = gates + 2 * inner_ * most;
      auto* packed = reinterpret_cast<c10::BFloat16*>(inner + inner_ * most);
      // By the share of the products: whole experts, unless one has more than a thread's part.
      const auto [low, high] = team.share(total * inner_);
      int64_t work = 0;
      for (int64_t e = 0; e < experts_; ++e) {
        if (count[e] == 0) continue;
        const int64_t columns = padded(count[e]), middle = work + columns * inner_ / 2;
        work += columns * inner_;
        if (middle < low || middle >= high) continue;
        const int32_t* which = members.data() + from[e];
        // Of packed operands the pairs are gathered, each as a number of 32 bits. Rows that are no whole tile are multiplied without the units.
        if (on_units(hidden_)) gather(reinterpret_cast<const int32_t*>(room.packed), hidden_ / 2, width, which, count[e], reinterpret_cast<int32_t*>(packed), columns);
        if (!on_units(hidden_) || 2 * inner_ % kTileRows != 0) gather(room.normed, hidden_, width, which, count[e], inputs, columns);
        multiply_prepared(rows_of(layer.experts_gate_up, e * 2 * inner_, 2 * inner_), 0, 2 * inner_, inputs, columns, gates, false, packed);
        swiglu(gates, inner, 0, inner_, inner_, columns);
        if (on_units(inner_)) pack_pairs(inner, 0, inner_ / 2, 0, columns, columns, packed);
        multiply_prepared(rows_of(layer.experts_down, e * hidden_, hidden_), 0, hidden_, inner, columns, outputs + start[e] * hidden_, false, packed);
      }
    }
    if (has_shared) apply(team, layer.down, room.second, width, room.x, room.other_packed, true);
    team.meet();
    {
      // Each token's experts are added in the order of choice.
      const auto [begin, end] = team.share(hidden_);
      for (int64_t p = 0; p < pairs; ++p) {
        const int64_t e = room.chosen[p], m = p / top_k_, columns = padded(count[e]);
        const float* y = outputs + start[e] * hidden_ + (place[p] - start[e]);
        const float share = room.weights[p];
        for (int64_t k = begin; k < end; ++k) room.x[k * width + m] += share * y[k * columns];
      }
    }
    team.meet();
  }

  /// The gate for column m: its experts, best first, and their weights. `room` holds 2 · experts + groups numbers.
  void choose(const Layer<W>& layer, const float* logits, int64_t width, int64_t m, int32_t* chosen, float* weights, float* room) const {
    float *scores = room, *biased = room + experts_;
    if (layer.router_bias != nullptr) {
      for (int64_t e = 0; e < experts_; ++e) scores[e] = 1.0f / (1.0f + std::exp(-logits[e * width + m]));
      for (int64_t e = 0; e < experts_; ++e) biased[e] = scores[e] + layer.router_bias[e];
    } else {
      float top = logits[m], total = 0;
      for (int64_t e = 1; e < experts_; ++e) top = std::max(top, logits[e * width + m]);
      for (int64_t e = 0; e < experts_; ++e) total += scores[e] = std::exp(logits[e * width + m] - top);
      for (int64_t e = 0; e < experts_; ++e) biased[e] = scores[e] = scores[e] / total;
    }
    // Not a number is worst, but chosen once only: no expert gets more pairs than there are tokens. (Closed groups are lower still.)
    constexpr float kWorst = -std::numeric_limits<float>::max();
    for (int64_t e = 0; e < experts_; ++e)
      if (!(biased[e] > kWorst)) biased[e] = kWorst;
    if (expert_groups_ > 1) {
      const int64_t size = experts_ / expert_groups_;
      float* groups = biased + experts_;
      for (int64_t g = 0; g < expert_groups_; ++g) {
        float best = -INFINITY, second = -INFINITY;
        for (int64_t e = g * size; e < (g + 1) * size; ++e) {
          if (biased[e] > best) {
            second = best;
            best = biased[e];
          } else {
            second = std::max(second, biased[e]);
          }
        }
        groups[g] = layer.router_bias != nullptr ? best + second : best;
      }
      for (int64_t g = 0; g < expert_groups_; ++g) {
        // A group stays when fewer than open_groups_ are better (the earlier one of equals).
        int64_t better = 0;
        for (int64_t o = 0; o < expert_groups_; ++o) better += groups[o] > groups[g] || (groups[o] == groups[g] && o < g);
        if (better < open_groups_) continue;
        for (int64_t e = g * size; e < (g + 1) * size; ++e) biased[e] = -INFINITY;
      }
    }
    float total = 0;
    for (int64_t k = 0; k < top_k_; ++k) {
      int64_t best = 0;
      for (int64_t e = 1; e < experts_; ++e)
        if (biased[e] > biased[best]) best = e;
      chosen[k] = static_cast<int32_t>(best);
      weights[k] = scores[best];
      total += scores[best];
      biased[best] = -INFINITY;
    }
    const float factor = normalise_ ? routed_scale_ / (total + 1e-20f) : routed_scale_;
    for (int64_t k = 0; k < top_k_; ++k) weights[k] *= factor;
  }

  int64_t hidden_ = 0, heads_ = 0, nope_ = 0, rank_ = 0, value_width_ = 0, groups_ = 0, head_width_ = 0;
  int64_t experts_ = 0, top_k_ = 0, expert_groups_ = 1, open_groups_ = 1, inner_ = 0;
  bool latent_ = false, interleaved_ = false, normalise_ = false;
  float eps_ = 0, scale_ = 0, routed_scale_ = 1;
  /// What the pointers below point into.
  std::vector<at::Tensor> kept_;
  /// One of them: embeddings are rounded when they are read. None where the head is the embedding.
  const float* exact_embedding_ = nullptr;
  const W* embedding_ = nullptr;
  Weights<W> head_;
  const float* final_norm_ = nullptr;
  std::vector<Layer<W>> layer_;
  Scratch<float> scratch_, outputs_;
  std::vector<Scratch<float>> own_;
  Scratch<c10::BFloat16> packed_;
  bool on_units_ = false;
  /// Heads of latent attention that a column's entries are read for at a time.
  int64_t head_block_ = 8;
  std::vector<int32_t> chosen_;
  std::vector<float> weights_;
};

// ------------------------------------------------------------------------------------------------ decoders by number

std::map<int64_t, std::unique_ptr<Decoder>>& decoders() {
  static auto* all = new std::map<int64_t, std::unique_ptr<Decoder>>();
  return *all;
}

Decoder& decoder(int64_t number) {
  const auto found = decoders().find(number);
  TORCH_CHECK(found != decoders().end(), "decoder: there is no decoder ", number, "; it was freed, or never made");
  return *found->second;
}

int64_t decoder_create(at::TensorList tensors, c10::List<std::string> names, c10::List<std::string> settings, at::ArrayRef<double> values, at::ScalarType type) {
  TORCH_CHECK(tensors.size() == names.size(), "decoder: ", tensors.size(), " tensors and ", names.size(), " names");
  TORCH_CHECK(settings.size() == values.size(), "decoder: ", settings.size(), " settings and ", values.size(), " values");
  Parts parts;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const std::string name = names.get(i);
    TORCH_CHECK(tensors[i].is_cpu() && tensors[i].is_contiguous(), "decoder: ", name, " must be contiguous and on the CPU");
    parts.tensors[name] = tensors[i].detach();
  }
  for (size_t i = 0; i < settings.size(); ++i) parts.settings[settings.get(i)] = values[i];
  static int64_t last = 0;
  std::unique_ptr<Decoder> made;
  if (type == at::kFloat)
    made = std::make_unique<TypedDecoder<float>>(parts);
  else if (type == at::kBFloat16)
    made = std::make_unique<TypedDecoder<c10::BFloat16>>(parts);
  TORCH_CHECK(made != nullptr, "decoder: weights must be float32 or bfloat16, got ", type);
  decoders()[++last] = std::move(made);
  return last;
}

/// float32 (or bfloat16) weights [.., rows, columns] rounded to bfloat16 and in the order of the matrix units; empty where there are none, or
/// the matrix has no whole tiles.
at::Tensor decoder_tiles(const at::Tensor& weight) {
  const int64_t columns = weight.size(-1), rows = weight.numel() / std::max<int64_t>(columns, 1);
  if (!has_tiles() || !fits_tiles(weight.size(-2), columns)) return at::empty({0}, at::kBFloat16);
  const at::Tensor exact = weight.to(at::kFloat).contiguous(), tiles = own_memory(weight.sizes(), at::kBFloat16);
  auto* to = tiles.data_ptr<c10::BFloat16>();
  const float* from = exact.const_data_ptr<float>();
  at::parallel_for(0, rows / kTileRows, 1, [&](int64_t begin, int64_t end) { pack_tiles(from, begin * kTileRows, end * kTileRows, columns, to); });
  return tiles;
}

void decoder_free(int64_t number) { decoders().erase(number); }

at::Tensor decoder_step(int64_t number, const at::Tensor& tokens, const at::Tensor& lengths, const at::Tensor& sequences, const at::Tensor& pages, const at::Tensor& wanted, const at::Tensor& cosine, const at::Tensor& sine, at::TensorList cache) {
  Decoder& model = decoder(number);
  const int64_t columns = tokens.size(0);
  for (const at::Tensor& one : {tokens, lengths, sequences}) TORCH_CHECK(one.scalar_type() == at::kInt && one.dim() == 1 && one.size(0) == columns && one.is_contiguous(), "decoder: tokens, lengths and sequences must be int32 [columns], got ", tokens.sizes(), ", ", lengths.sizes(), " and ", sequences.sizes());
  TORCH_CHECK(wanted.scalar_type() == at::kInt && wanted.dim() == 1 && wanted.is_contiguous(), "decoder: wanted must be int32 [columns whose logits are wanted], got ", wanted.sizes());
  TORCH_CHECK(pages.scalar_type() == at::kInt && pages.dim() == 2 && pages.is_contiguous(), "decoder: pages must be int32 [sequences, pages each], got ", pages.sizes());
  TORCH_CHECK(static_cast<int64_t>(cache.size()) == model.layers, "decoder: the cache has ", cache.size(), " layers, the model ", model.layers);
  TORCH_CHECK(cosine.scalar_type() == at::kFloat && cosine.dim() == 2 && cosine.size(1) == model.rotary_half && sine.sizes() == cosine.sizes() && cosine.is_contiguous() && sine.is_contiguous(), "decoder: cosine and sine must be float32 [positions, ", model.rotary_half, "], got ", cosine.sizes());
  StepInputs in{tokens.const_data_ptr<int32_t>(), lengths.const_data_ptr<int32_t>(), sequences.const_data_ptr<int32_t>(), pages.const_data_ptr<int32_t>(), columns, pages.size(1), wanted.const_data_ptr<int32_t>(), wanted.size(0), cosine.const_data_ptr<float>(), sine.const_data_ptr<float>(), {}, kPageTokens * model.entry_width};
  int64_t most = 0;
  for (size_t i = 0; i < cache.size(); ++i) {
    const at::Tensor& layer = cache[i];
    TORCH_CHECK(layer.scalar_type() == model.cache_type && layer.dim() == 3 && layer.size(1) == kPageTokens && layer.size(2) == model.entry_width && layer.is_contiguous() && (i == 0 || layer.size(0) == most), "decoder: a layer of the cache must be ", model.cache_type, " [pages, ", kPageTokens, ", ", model.entry_width, "], got ", layer.sizes());
    most = layer.size(0);
    in.cache.push_back(layer.data_ptr());
  }
  for (int64_t m = 0; m < columns; ++m) {
    TORCH_CHECK_INDEX(in.tokens[m] >= 0 && in.tokens[m] < model.vocabulary, "decoder: token ", in.tokens[m], " of ", model.vocabulary);
    TORCH_CHECK_INDEX(in.sequences[m] >= 0 && in.sequences[m] < pages.size(0), "decoder: column ", m, " is of sequence ", in.sequences[m], " of ", pages.size(0));
    const int64_t length = in.lengths[m], used = (length + kPageTokens - 1) / kPageTokens;
    TORCH_CHECK_INDEX(length >= 1 && length <= cosine.size(0) && used <= pages.size(1), "decoder: column ", m, " has ", length, " tokens; there are ", cosine.size(0), " positions and ", pages.size(1), " pages");
    const int32_t* table = in.pages + static_cast<int64_t>(in.sequences[m]) * pages.size(1);
    for (int64_t i = 0; i < used; ++i) TORCH_CHECK_INDEX(table[i] >= 0 && table[i] < most, "decoder: sequence ", in.sequences[m], " names page ", table[i], " of ", most);
  }
  TORCH_CHECK(in.wanted_count <= columns, "decoder: ", in.wanted_count, " columns are wanted of ", columns);
  for (int64_t i = 0; i < in.wanted_count; ++i) TORCH_CHECK_INDEX(in.wanted[i] >= 0 && in.wanted[i] < columns, "decoder: wanted column ", in.wanted[i], " of ", columns);
  at::Tensor logits = at::empty({in.wanted_count, model.vocabulary}, at::kFloat);
  if (columns > 0) model.step(in, logits.data_ptr<float>(), at::get_num_threads());
  return logits;
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(dunwu, m) {
  m.def("decoder_create(Tensor[] tensors, str[] names, str[] settings, float[] values, ScalarType dtype) -> int", decoder_create);
  m.def("decoder_tiles(Tensor weight) -> Tensor", decoder_tiles);
  m.def("decoder_free(int decoder) -> ()", decoder_free);
  m.def("decoder_step(int decoder, Tensor tokens, Tensor lengths, Tensor sequences, Tensor pages, Tensor wanted, Tensor cosine, Tensor sine, Tensor(a!)[] cache) -> Tensor", decoder_step);
}

}  // namespace dunwu

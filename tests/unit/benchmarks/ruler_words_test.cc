// Common and frequent words: texts byte for byte, counts, vocabularies, word files, lengths.
#include "benchmarks/ruler_words.h"

#include <map>

#include "benchmarks/bundled_text.h"
#include "benchmarks/ruler_cwe.h"
#include "benchmarks/ruler_fwe.h"
#include "models/tokenizer/tokenizer.h"
#include "ruler_fixture.h"

namespace strata {
namespace {

RulerConfig cwe(std::int64_t length) { return bundled_ruler(RulerTask::kCwe, length); }
RulerConfig fwe(std::int64_t length) { return bundled_ruler(RulerTask::kFwe, length); }

// Words of a numbered list, whose numbers must be 1, 2, 3, …
std::map<std::string, std::int64_t> counts_of(const std::string& list) {
  std::map<std::string, std::int64_t> counts;
  const auto parts = split_words(list);
  for (std::size_t i = 0; i + 1 < parts.size(); i += 2) {
    EXPECT_EQ(parts[i], fmt::format("{}.", i / 2 + 1));
    ++counts[parts[i + 1]];
  }
  return counts;
}

std::string between(const std::string& text, std::string_view begin, std::string_view end) {
  const auto from = text.find(begin) + begin.size();
  return text.substr(from, text.find(end, from) - from);
}

void expect_counts(const std::map<std::string, std::int64_t>& counts,
                   const std::vector<std::string>& common, std::int64_t common_times,
                   std::int64_t other_times, std::int64_t words) {
  EXPECT_EQ(std::ssize(counts), words);
  ASSERT_EQ(common.size(), 10U);
  std::int64_t found = 0;
  for (const std::string& word : common) EXPECT_EQ(counts.at(word), common_times) << word;
  for (const auto& [word, count] : counts) found += count == common_times ? 1 : 0;
  EXPECT_EQ(found, 10);
  for (const auto& [word, count] : counts) {
    EXPECT_TRUE(count == common_times || count == other_times) << word << " " << count;
  }
}

TEST(RulerCwe, TextsAreRulersByteForByte) {
  EXPECT_EQ(std::string(kCweHead) + "{context}" + std::string(kCweTail),
            "Below is a numbered list of words. In these words, some appear more often than "
            "others. Memorize the ones that appear most often.\n{context}\nQuestion: What are the "
            "10 most common words in the above list?");
  EXPECT_EQ(kCweAnswerPrefix, " Answer: The top 10 words that appear most often in the list are:");
  EXPECT_EQ(numbered({"a", "b", "c"}), "1. a 2. b 3. c");
}

TEST(RulerCwe, CountsAreAsPublishedAndSmallerBelowFourThousandTokens) {
  const Model model = small_model();
  for (const std::int64_t length : {3000, 4095, 8000}) {
    const CweShape shape = cwe_shape(length);
    EXPECT_EQ(shape.common, length < 4096 ? 6 : 30);
    for (const Sample& sample : ruler_samples(cwe(length), model.request(4))) {
      const std::string message = user_message(sample);
      const auto second = message.find(kCweHead, 1);
      ASSERT_NE(second, std::string::npos);
      const std::string example = message.substr(0, second);
      const std::string question = message.substr(second);
      expect_counts(counts_of(between(question, kCweHead, kCweTail)), sample.answers, shape.common,
                    shape.other, sample.metadata["units"]);
      EXPECT_TRUE(question.ends_with(kCweTail));
      // The worked example: RULER's space before its answer, and a newline behind it.
      std::string answer = between(example, kCweAnswerPrefix, "\n");
      EXPECT_TRUE(answer.starts_with(" 1. "));
      std::vector<std::string> common;
      for (const auto& [word, count] : counts_of(answer)) common.push_back(word);
      expect_counts(counts_of(between(example, kCweHead, kCweTail)), common, shape.example_common,
                    shape.example_other, std::ssize(common) * (length < 4096 ? 2 : 4));
      EXPECT_TRUE(example.ends_with(answer + "\n"));
      for (const std::string& word : sample.answers) {
        EXPECT_EQ(split_of(word), Split::kTest);
        EXPECT_EQ(std::count(common.begin(), common.end(), word), 0);
      }
      EXPECT_TRUE(assistant_part(sample).starts_with(kCweAnswerPrefix));
      EXPECT_TRUE((sample.answer_given + model.tokenizer.decode(sample.answer))
                      .starts_with(" 1. " + sample.answers[0] + " 2. " + sample.answers[1]));
    }
  }
}

TEST(RulerCwe, LmEvalShowsNoExample) {
  const Model model = small_model();
  RulerConfig config = cwe(3000);
  config.variant = RulerVariant::kLmEval;
  const Sample sample = ruler_samples(config, model.request(1)).at(0);
  expect_within(model, config, sample, 120);
  EXPECT_EQ(count_of(user_message(sample), kCweHead), 1);
  EXPECT_TRUE(assistant_part(sample).starts_with("Answer: The top 10"));
}

TEST(RulerCwe, AnExhaustedVocabularyIsAnErrorThatNamesTheWordFile) {
  const Model model = small_model();
  const std::string error = ruler_error(cwe(60000), model.request(1));
  EXPECT_TRUE(error.starts_with("benchmark.word_file: a list of 60000 tokens needs at least "))
      << error;
  EXPECT_NE(error.find("different words, but the vocabulary has 633\n  hint: give a file with more "
                       "words, one a line"),
            std::string::npos)
      << error;
  const TempDir directory;
  std::string words;
  Rng rng(1, "test words");
  for (int i = 0; i < 9000; ++i) {
    for (int letter = 0; letter < 5; ++letter) words += static_cast<char>('a' + rng.below(26));
    words += '\n';
  }
  RulerConfig config = cwe(60000);
  config.word_file = directory.write("words.txt", words).string();
  const Sample sample = ruler_samples(config, model.request(1)).at(0);
  expect_within(model, config, sample, 120);
  EXPECT_NE(make_ruler(config)->data_id(model.request(1)).value(),
            make_ruler(cwe(60000))->data_id(model.request(1)).value());
}

std::string lines(int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += fmt::format("word{}\r\n", i);
  return text;
}

TEST(RulerWordFile, AWordALineOrJsonListOrObjectAreTheSame) {
  std::vector<std::string> words;
  nlohmann::json object;
  for (int i = 0; i < 120; ++i) {
    words.push_back(fmt::format("word{}", i));
    object[std::to_string(i)] = words.back();
  }
  std::sort(words.begin(), words.end());
  EXPECT_EQ(parse_word_file(lines(120) + "\n\nword7\n", "w").value(), words);
  EXPECT_EQ(parse_word_file(nlohmann::json(words).dump(), "w").value(), words);
  EXPECT_EQ(parse_word_file(object.dump(), "w").value(), words);
}

TEST(RulerWordFile, WhatIsNoWordIsRefusedByLineOrItem) {
  const auto error = [](const std::string& text) {
    const auto words = parse_word_file(text, "w.txt");
    return words ? "no error" : words.error().text();
  };
  EXPECT_EQ(error(""), "w.txt: expected at least 100 different words, got 0");
  EXPECT_EQ(error(lines(99) + lines(99)), "w.txt: expected at least 100 different words, got 99");
  EXPECT_EQ(error("a\n" + std::string(201, 'b')),
            "w.txt:2: expected a word of 1 to 200 bytes, got 201");
  EXPECT_EQ(error("a\nb\tc"),
            "w.txt:2: expected a word of 1 to 200 bytes, got a control character "
            "in it");
  EXPECT_EQ(error("\xff"),
            "w.txt:1: expected a word of 1 to 200 bytes, got bytes that are not "
            "UTF-8");
  EXPECT_EQ(error(R"(["a", 7])"), "w.txt: item 1: expected a word, got a number");
  EXPECT_EQ(error(R"({"0": "a", "x": null})"), "w.txt: item x: expected a word, got a null");
  EXPECT_EQ(error(R"(["a", ""])"),
            "w.txt: item 1: expected a word of 1 to 200 bytes, got an empty one");
  EXPECT_EQ(error(R"(["a")").substr(0, 28), "w.txt: invalid JSON at byte ");
  const Model model = small_model();
  RulerConfig config = cwe(3000);
  config.word_file = "/nowhere/words.txt";
  EXPECT_EQ(ruler_error(config, model.request(1)),
            "benchmark.word_file: /nowhere/words.txt: expected a file here, found none");
}

TEST(RulerFwe, TextsAreRulersByteForByte) {
  EXPECT_EQ(std::string(kFweHead) + "{context}" + std::string(kFweTail),
            "Read the following coded text and track the frequency of each coded word. Find the "
            "three most frequently appeared coded words. {context}\nQuestion: Do not provide any "
            "explanation. Please ignore the dots '....'. What are the three most frequently "
            "appeared words in the above coded text?");
  EXPECT_EQ(kFweAnswerPrefix,
            " Answer: According to the coded text above, the three most frequently appeared words "
            "are:");
}

TEST(RulerFwe, CountsFollowTheZetaDistribution) {
  // numpy: (1000 * k**-2.0 / scipy.special.zeta(2.0)).astype(int), k = 1 … 6
  const std::vector<std::int64_t> expected = {607, 151, 67, 37, 24, 16};
  for (std::size_t i = 0; i < expected.size(); ++i)
    EXPECT_EQ(fwe_count(1000, static_cast<std::int64_t>(i) + 1), expected[i]);
  for (std::int64_t words = 73; words < 5000; ++words)  // the answer is never a tie
    ASSERT_GT(fwe_count(words, 4), fwe_count(words, 5)) << words;
}

TEST(RulerFwe, TheAnswerIsRanksTwoToFourAndDotsAreTheFirst) {
  const Model model = small_model();
  for (const Sample& sample : ruler_samples(fwe(3000), model.request(5))) {
    std::map<std::string, std::int64_t> counts;
    for (const std::string& word : split_words(between(user_message(sample), kFweHead, kFweTail)))
      ++counts[word];
    const std::int64_t words = sample.metadata["units"];
    EXPECT_EQ(counts.at("..."), fwe_count(words, 1));
    ASSERT_EQ(sample.answers.size(), 3U);
    for (std::size_t i = 0; i < 3; ++i) {
      EXPECT_EQ(counts.at(sample.answers[i]), fwe_count(words, static_cast<std::int64_t>(i) + 2));
      EXPECT_EQ(sample.answers[i].size(), 6U);
      EXPECT_EQ(split_of(sample.answers[i]), Split::kTest);
    }
    std::int64_t rank = 1;
    for (; rank <= (3000 - 50) / 50 && fwe_count(words, rank) > 0; ++rank) {
    }
    EXPECT_EQ(std::ssize(counts), rank - 1);
  }
}

void expect_lengths(const Model& model, const std::vector<std::int64_t>& lengths) {
  for (const std::int64_t length : lengths) {
    for (const Sample& sample : ruler_samples(cwe(length), model.request(3))) {
      expect_within(model, cwe(length), sample, 120);
      EXPECT_LT(sample.metadata["shortfall"], 80);  // less than a word three times
    }
    for (const Sample& sample : ruler_samples(fwe(length), model.request(3))) {
      expect_within(model, fwe(length), sample, 50);
      EXPECT_LT(sample.metadata["shortfall"], 80);
    }
  }
}

TEST(RulerWords, PromptAndGenerationFitTheLengthToAWord) {
  expect_lengths(small_model(), {2000, 4095, 5000, 8192});
}

TEST(RulerWords, PromptAndGenerationFitTheLengthToAWordWithSmolLm2) {
  SKIP_WITHOUT_SMOLLM2(model);
  expect_lengths(*model, {1024, 4096, 8192});
}

TEST(RulerWords, SamplesFollowFromTheSeedAndShareNothingBetweenSplits) {
  const Model model = small_model();
  expect_own_and_repeatable(model, cwe(3000));
  expect_own_and_repeatable(model, fwe(3000));
}

TEST(RulerWords, WhatIsTooShortIsRefusedWithTheSmallestLengthThatWorks) {
  const Model model = small_model();
  expect_smallest_length(model, cwe(100), 100);
  expect_smallest_length(model, fwe(100), 100);
}

}  // namespace
}  // namespace strata

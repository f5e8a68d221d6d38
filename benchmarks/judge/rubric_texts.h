// The judges' prompts, word for word: what makes a score comparable with published ones. A test
// holds the hashes of the originals.
//
// LongMemEval: src/evaluation/evaluate_qa.py of github.com/xiaowu0162/LongMemEval at 9e0b455 (MIT,
// Copyright (c) 2024 Di Wu). SWAA: Eval/gpt_eval.py of
// github.com/yuyijiong/sliding-window-attention-adaptation at 05afcb8 (Apache-2.0). Needle: the
// criteria of needlehaystack/evaluators/openai.py of github.com/gkamradt/LLMTest_NeedleInAHaystack
// at 186553d (MIT), spelt as there, in LangChain's template "labeled_score_string" (MIT) without
// its system line; LangChain puts the reference behind the criteria with nothing between.
#pragma once

#include <string_view>

namespace strata::rubric_texts {

inline constexpr std::string_view kAnswer =
    "I will give you a question, a correct answer, and a response from a model. Please "
    "answer yes if the response contains the correct answer. Otherwise, answer no. If "
    "the response is equivalent to the correct answer or contains all the intermediate "
    "steps to get the correct answer, you should also answer yes. If the response only "
    "contains a subset of the information required by the answer, answer no. \n"
    "\n"
    "Question: {}\n"
    "\n"
    "Correct Answer: {}\n"
    "\n"
    "Model Response: {}\n"
    "\n"
    "Is the model response correct? Answer yes or no only.";

inline constexpr std::string_view kTemporalReasoning =
    "I will give you a question, a correct answer, and a response from a model. Please "
    "answer yes if the response contains the correct answer. Otherwise, answer no. If "
    "the response is equivalent to the correct answer or contains all the intermediate "
    "steps to get the correct answer, you should also answer yes. If the response only "
    "contains a subset of the information required by the answer, answer no. In "
    "addition, do not penalize off-by-one errors for the number of days. If the question "
    "asks for the number of days/weeks/months, etc., and the model makes off-by-one "
    "errors (e.g., predicting 19 days when the answer is 18), the model's response is "
    "still correct. \n"
    "\n"
    "Question: {}\n"
    "\n"
    "Correct Answer: {}\n"
    "\n"
    "Model Response: {}\n"
    "\n"
    "Is the model response correct? Answer yes or no only.";

inline constexpr std::string_view kKnowledgeUpdate =
    "I will give you a question, a correct answer, and a response from a model. Please "
    "answer yes if the response contains the correct answer. Otherwise, answer no. If "
    "the response contains some previous information along with an updated answer, the "
    "response should be considered as correct as long as the updated answer is the "
    "required answer.\n"
    "\n"
    "Question: {}\n"
    "\n"
    "Correct Answer: {}\n"
    "\n"
    "Model Response: {}\n"
    "\n"
    "Is the model response correct? Answer yes or no only.";

inline constexpr std::string_view kPreference =
    "I will give you a question, a rubric for desired personalized response, and a "
    "response from a model. Please answer yes if the response satisfies the desired "
    "response. Otherwise, answer no. The model does not need to reflect all the points "
    "in the rubric. The response is correct as long as it recalls and utilizes the "
    "user's personal information correctly.\n"
    "\n"
    "Question: {}\n"
    "\n"
    "Rubric: {}\n"
    "\n"
    "Model Response: {}\n"
    "\n"
    "Is the model response correct? Answer yes or no only.";

inline constexpr std::string_view kAbstention =
    "I will give you an unanswerable question, an explanation, and a response from a "
    "model. Please answer yes if the model correctly identifies the question as "
    "unanswerable. The model could say that the information is incomplete, or some other "
    "information is given but the asked information is not.\n"
    "\n"
    "Question: {}\n"
    "\n"
    "Explanation: {}\n"
    "\n"
    "Model Response: {}\n"
    "\n"
    "Does the model correctly identify the question as unanswerable? Answer yes or no "
    "only.";

inline constexpr std::string_view kSwaa =
    "\n"
    "Your task is to label an answer to a question as ’CORRECT’ or ’WRONG’. You "
    "will be given the following data:\n"
    "    (1) a question,\n"
    "    (2) a 'gold' (ground truth) answer,\n"
    "    (3) a generated answer\n"
    "which you will score as CORRECT/WRONG.\n"
    "\n"
    "The point of the question is to ask about something based on some prior "
    "conversations or a passage.\n"
    "The gold answer will usually be a concise and short answer that includes the "
    "referenced topic, for example:\n"
    "Question: Do you remember what I got the last time I went to Hawaii?\n"
    "Gold answer: A shell necklace\n"
    "The generated answer might be much longer, but you should be generous with your "
    "grading - as long as it expresses the same key meaning as the gold answer, it "
    "should be counted as CORRECT.\n"
    "\n"
    "For time related questions, the gold answer will be a specific date, month, year, "
    "etc. The generated answer might be much longer or use relative time references "
    "(like \"last Tuesday\" or \"next month\"), but you should be generous with your grading "
    "- as long as it refers to the same date or time period as the gold answer, it "
    "should be counted as CORRECT. Even if the format differs (e.g., \"May 7th\" vs \"7 "
    "May\"), consider it CORRECT if it's the same date.\n"
    "\n"
    "If the answer is vague or not specific enough, it should be considered WRONG. For "
    "example, if the gold answer is \"A shell necklace\" and the generated answer is "
    "\"something from Hawaii\", it should be considered WRONG.\n"
    "\n"
    "The gold answer may contain multiple acceptable answers separated by \"or\". If the "
    "generated answer matches any one of these, it should be considered CORRECT.\n"
    "\n"
    "Now it's time for the real question:\n"
    "Question: {question}\n"
    "Gold answer: {gold_answer}\n"
    "Generated answer: {generated_answer}\n"
    "\n"
    "First, provide a short (one sentence) explanation of your reasoning, then finish "
    "with CORRECT or WRONG.\n";

inline constexpr std::string_view kNeedle =
    "[Instruction]\n"
    "Please act as an impartial judge and evaluate the quality of the response provided "
    "by an AI assistant to the user question displayed below. For this evaluation, you "
    "should primarily consider the following criteria:\n"
    "accuracy: \n"
    "                Score 1: The answer is completely unrelated to the reference.\n"
    "                Score 3: The answer has minor relevance but does not align with the "
    "reference.\n"
    "                Score 5: The answer has moderate relevance but contains "
    "inaccuracies.\n"
    "                Score 7: The answer aligns with the reference but has minor "
    "omissions.\n"
    "                Score 10: The answer is completely accurate and aligns perfectly "
    "with the reference.\n"
    "                Only respond with a numberical score{gold_answer}Begin your "
    "evaluation by providing a short explanation. Be as objective as possible. After "
    "providing your explanation, you must rate the response on a scale of 1 to 10 by "
    "strictly following this format: \"[[rating]]\", for example: \"Rating: [[5]]\".\n"
    "\n"
    "[Question]\n"
    "{question}\n"
    "\n"
    "[The Start of Assistant's Answer]\n"
    "{generated_answer}\n"
    "[The End of Assistant's Answer]";

}  // namespace strata::rubric_texts

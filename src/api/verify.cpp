#include "api/verify.h"

#include <algorithm>
#include <exception>
#include <filesystem>

#include "api/verify/check.h"
#include "core/error.h"

namespace quaver {
namespace verify {
namespace {

constexpr std::size_t most_entries = 2000;

}  // namespace

std::string_view name_of(Severity severity) {
  return severity == Severity::error ? "error" : severity == Severity::warning ? "warning" : "note";
}

void Findings::add(Finding finding, std::string_view kind) {
  const std::string key = text(check_, '\n', name_of(finding.severity), '\n',
                               kind.empty() ? std::string_view(finding.problem) : kind);
  const auto found = places_.find(key);
  if (found != places_.end()) {
    ++entries_[found->second].more;
    return;
  }
  if (entries_.size() >= most_entries && finding.severity != Severity::error) return;
  if (entries_.size() >= 2 * most_entries) return;
  places_.emplace(key, entries_.size());
  entries_.push_back({.first = std::move(finding), .check = check_});
}

std::vector<Findings::Entry> Findings::sorted() const {
  std::vector<Entry> entries = entries_;
  std::ranges::stable_sort(entries, {}, [](const Entry& e) { return e.first.severity; });
  return entries;
}

std::int64_t Findings::count(Severity severity) const {
  return std::ranges::count(entries_, severity, [](const Entry& e) { return e.first.severity; });
}

}  // namespace verify

Json verify_checkpoint(const std::string& directory, const VerifyOptions& options) {
  using verify::Severity;
  std::error_code error;
  const auto status = std::filesystem::status(directory, error);
  ensure_file(std::filesystem::is_directory(status), directory,
              std::filesystem::exists(status) ? ": not a directory" : ": no such directory",
              "; DIR is a checkpoint directory");
  const verify::Subject subject = verify::examine(directory, options);
  verify::Findings findings;
  findings.begin("read");
  for (const verify::Finding& trouble : subject.troubles) findings.add(trouble);
  Json run = Json::array();
  for (const verify::Check* check : verify::checks()) {
    findings.begin(check->name);
    run.push_back({{"name", check->name}, {"summary", check->summary}});
    try {
      check->run(subject, findings);
    } catch (const Error& e) {
      findings.add({.subject = directory, .problem = text("cannot be checked: ", e.what())});
    }
  }
  Json list = Json::array();
  for (const auto& entry : findings.sorted())
    list.push_back({{"severity", verify::name_of(entry.first.severity)},
                    {"check", entry.check},
                    {"subject", entry.first.subject},
                    {"more", entry.more},
                    {"problem", entry.first.problem},
                    {"expected", entry.first.expected},
                    {"readers", entry.first.readers}});
  return {{"directory", directory},
          {"errors", findings.count(Severity::error)},
          {"warnings", findings.count(Severity::warning)},
          {"notes", findings.count(Severity::note)},
          {"findings", std::move(list)},
          {"tensor_parallel", verify::tensor_parallel(subject)},
          {"checks", std::move(run)}};
}

}  // namespace quaver

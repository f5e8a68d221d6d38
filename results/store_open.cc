// Store::open: what is at the path, creating a database as a whole, migrating an older one.
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "results/schema.h"
#include "results/sqlite.h"
#include "results/store.h"

namespace strata {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kSqliteMagic("SQLite format 3\0", 16);
constexpr std::size_t kHeaderBytes = 100;
constexpr std::size_t kPageSizeOffset = 16;
// For a row that claims to be long SQLite makes room for a list of its pages: 68 MB where pages are
// of 512 bytes. Ours are of 4096.
constexpr std::uint32_t kMinPageBytes = 1024;
constexpr std::size_t kUserVersionOffset = 60;  // big-endian, as the file format says
constexpr std::size_t kApplicationIdOffset = 68;

constexpr const char* kSetWal = "PRAGMA journal_mode = WAL";
constexpr const char* kSetDurable = "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON";
constexpr std::string_view kGetVersion = "PRAGMA user_version";
constexpr std::string_view kSetVersion = "PRAGMA user_version = {}";
constexpr std::string_view kSetApplication = "PRAGMA application_id = {}";

constexpr std::string_view kUntouched = "the file was left as it is; choose another path with db=";

enum class Found { kNothing, kEmptyFile, kOurs };

std::uint32_t big_endian(const char* bytes) {
  std::uint32_t value = 0;
  for (int i = 0; i < 4; ++i) value = value << 8U | static_cast<unsigned char>(bytes[i]);
  return value;
}

std::string first_bytes(std::string_view bytes) {
  std::string out;
  for (const char c : bytes.substr(0, 8))
    out += c >= 0x20 && c < 0x7f ? std::string(1, c)
                                 : fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  return out;
}

Error newer(const std::string& path, std::int64_t version) {
  return make_error(ErrorKind::kUnsupported, "expected schema version {} or older, got {}",
                    migrations().size(), version)
      .at(path)
      .with_hint("a newer strata wrote this database; use that one");
}

// Reads the file's header itself, because SQLite may write to a file that it opens.
Result<Found> inspect(const std::string& path) {
  std::error_code code;
  const fs::file_status status = fs::status(path, code);
  if (status.type() == fs::file_type::not_found) {
    const fs::path folder = fs::path(path).parent_path();
    if (!folder.empty() && !fs::is_directory(folder, code))
      return fail(
          make_error(ErrorKind::kNotFound, "the folder '{}' does not exist", folder.string())
              .at(path)
              .with_hint("create it, or choose another path with db="));
    return Found::kNothing;
  }
  if (!fs::is_regular_file(status))
    return fail(
        make_error(ErrorKind::kInvalidFile, "expected a database file, got {}",
                   fs::is_directory(status) ? "a folder" : "something that is no regular file")
            .at(path)
            .with_hint("choose another path with db="));
  std::ifstream file(path, std::ios::binary);
  std::array<char, kHeaderBytes> header{};
  if (!file)
    return fail(
        make_error(ErrorKind::kIo, "cannot read the file: {}", std::strerror(errno)).at(path));
  file.read(header.data(), kHeaderBytes);
  const std::string_view bytes(header.data(), static_cast<std::size_t>(file.gcount()));
  if (bytes.empty()) return Found::kEmptyFile;
  if (bytes.size() < kHeaderBytes || !bytes.starts_with(kSqliteMagic))
    return fail(
        make_error(ErrorKind::kInvalidFile,
                   "expected a strata results database, got a file that is no SQLite database "
                   "(it begins with '{}')",
                   first_bytes(bytes))
            .at(path)
            .with_hint(std::string(kUntouched)));
  const std::uint32_t application = big_endian(bytes.data() + kApplicationIdOffset);
  if (application != kApplicationId)
    return fail(
        make_error(ErrorKind::kInvalidFile,
                   "expected a strata results database (application id {:#010x}), got an SQLite "
                   "database of another program (application id {:#010x})",
                   kApplicationId, application)
            .at(path)
            .with_hint(std::string(kUntouched)));
  const std::uint32_t page = big_endian(bytes.data() + kPageSizeOffset) >> 16U;  // 1 = 65536
  if (page != 1 && page < kMinPageBytes)
    return fail(make_error(ErrorKind::kInvalidFile, "expected pages of at least {} bytes, got {}",
                           kMinPageBytes, page)
                    .at(path)
                    .with_hint("'PRAGMA page_size = 4096; VACUUM' in another journal mode than WAL "
                               "changes it"));
  const std::uint32_t version = big_endian(bytes.data() + kUserVersionOffset);
  if (version > migrations().size()) return fail(newer(path, version));
  return Found::kOurs;
}

Result<std::int64_t> version_of(const Connection& connection) {
  ASSIGN_OR_RETURN(const std::vector<SqlRow> rows, connection.query(kGetVersion));
  return std::get<std::int64_t>(rows.at(0).at(0));
}

Status migrate(const Connection& connection) {
  ASSIGN_OR_RETURN(Transaction transaction, Transaction::begin(connection));
  // Read inside the transaction: another process may just have done it.
  ASSIGN_OR_RETURN(const std::int64_t version, version_of(connection));
  for (auto i = static_cast<std::size_t>(version); i < migrations().size(); ++i) {
    RETURN_IF_ERROR(connection.execute(std::string(migrations()[i])));
    RETURN_IF_ERROR(connection.execute(fmt::format(fmt::runtime(kSetVersion), i + 1)));
  }
  return transaction.commit();
}

void sync_folder(const std::string& path) {
  const fs::path folder = fs::path(path).parent_path();
  const int descriptor =
      ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;
  ::fsync(descriptor);
  ::close(descriptor);
}

Status write_new(const std::string& path) {
  ASSIGN_OR_RETURN(const auto connection, Connection::open(path, Connection::Open::kCreate));
  RETURN_IF_ERROR(connection->execute(fmt::format(fmt::runtime(kSetApplication), kApplicationId)));
  RETURN_IF_ERROR(migrate(*connection));
  return connection->execute(kSetWal);
}

// Built under another name and moved, so that a file at `path` is always a whole database of ours.
Status create(const std::string& path, Found found) {
  std::error_code ignored;
  if (fs::exists(path + "-wal", ignored))
    return fail(
        make_error(ErrorKind::kInvalidFile, "expected no '{}-wal' without its database", path)
            .at(path)
            .with_hint("move the database back beside it, or remove the -wal file"));
  const std::string temporary = fmt::format("{}.new-{}", path, ::getpid());
  fs::remove(temporary, ignored);
  Status status = write_new(temporary);
  if (!status) {
    fs::remove(temporary, ignored);
    Error error = std::move(status).error();
    error.where = {path};  // the temporary name means nothing to the user
    return fail(std::move(error));
  }
  // A link never replaces a database that another process has made meanwhile.
  const int moved = found == Found::kEmptyFile ? ::rename(temporary.c_str(), path.c_str())
                                               : ::link(temporary.c_str(), path.c_str());
  const int reason = errno;
  fs::remove(temporary, ignored);
  if (moved != 0 && reason != EEXIST)
    return fail(
        make_error(ErrorKind::kIo, "cannot create the file: {}", std::strerror(reason)).at(path));
  sync_folder(path);
  return {};
}

// A database on a read-only disk has no room for WAL's shared memory; it is read as a file nobody
// writes.
Result<std::unique_ptr<Connection>> open_for_reading(const std::string& path) {
  ASSIGN_OR_RETURN(auto connection, Connection::open(path, Connection::Open::kReadOnly));
  const Result<std::int64_t> version = version_of(*connection);
  std::error_code code;
  const auto unwritten = fs::file_size(path + "-wal", code);
  if (version || (!code && unwritten > 0)) return connection;
  return Connection::open(path, Connection::Open::kImmutable);
}

}  // namespace

Result<Store> Store::open(const std::string& path, Mode mode) {
  ASSIGN_OR_RETURN(const Found found, inspect(path));
  if (mode == Mode::kReadOnly) {
    if (found != Found::kOurs)
      return fail(make_error(ErrorKind::kNotFound, "expected a strata results database, got {}",
                             found == Found::kNothing ? "no file" : "an empty file")
                      .at(path)
                      .with_hint("'strata run' makes one; db= names it"));
    ASSIGN_OR_RETURN(auto connection, open_for_reading(path));
    ASSIGN_OR_RETURN(const std::int64_t version, version_of(*connection));
    const auto current = static_cast<std::int64_t>(migrations().size());
    if (version > current) return fail(newer(path, version));
    if (version < current)
      return fail(make_error(ErrorKind::kUnsupported, "expected schema version {}, got {}", current,
                             version)
                      .at(path)
                      .with_hint("bring it up to date with 'strata db migrate'"));
    RETURN_IF_ERROR(check_schema(*connection));
    return Store(path, mode, std::move(connection));
  }
  if (found != Found::kOurs) RETURN_IF_ERROR(create(path, found));
  ASSIGN_OR_RETURN(auto connection, Connection::open(path, Connection::Open::kReadWrite));
  RETURN_IF_ERROR(connection->execute(kSetDurable));
  ASSIGN_OR_RETURN(const std::int64_t version, version_of(*connection));
  if (version > static_cast<std::int64_t>(migrations().size())) return fail(newer(path, version));
  RETURN_IF_ERROR(connection->execute(kSetWal));
  if (version < static_cast<std::int64_t>(migrations().size()))
    RETURN_IF_ERROR(migrate(*connection));
  RETURN_IF_ERROR(check_schema(*connection));
  return Store(path, mode, std::move(connection));
}

}  // namespace strata

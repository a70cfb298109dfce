#pragma once
// Python's operators on template values.
#include <string_view>

#include "text/jinja/value.h"

namespace quaver::jinja {

// left OPERATION right for + - * / // % **; throws for types without that operation, on division
// by zero and where an integer needs more than 64 bits.
Value arithmetic(std::string_view operation, const Value& left, const Value& right, Budget& budget);
Value negated(const Value& value, bool minus);  // -value or +value

std::int64_t checked(std::optional<std::int64_t> result);  // throws on nullopt: too large
std::optional<std::int64_t> sum(std::int64_t a, std::int64_t b);
std::optional<std::int64_t> product(std::int64_t a, std::int64_t b);
// int(value) of a finite double; throws when it needs more than 64 bits.
std::int64_t truncated(double value);
double floor_modulo(double a, double b);
std::int64_t floor_modulo(std::int64_t a, std::int64_t b);
std::int64_t floor_quotient(std::int64_t a, std::int64_t b);

}  // namespace quaver::jinja

#pragma once
// What a call that must fail throws.
#include <gtest/gtest.h>

#include <actium/error.hpp>
#include <string>

namespace actium_test {

/// `call` throws actium::Error of this kind, and its message contains `text`.
template <class Call>
void expect_error(actium::ErrorKind kind, const std::string& text, const Call& call) {
  try {
    call();
    ADD_FAILURE() << "nothing was thrown; want an error with: " << text;
  } catch (const actium::Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    EXPECT_NE(std::string(error.what()).find(text), std::string::npos)
        << "want: " << text << "\ngot:  " << error.what();
  }
}

}  // namespace actium_test

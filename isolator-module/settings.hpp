// SPDX-License-Identifier: Apache-2.0

#ifndef FLOCKER_SETTINGS_HPP
#define FLOCKER_SETTINGS_HPP

#include <string>

#include <mesos/mesos.hpp>

#include <stout/duration.hpp>
#include <stout/error.hpp>
#include <stout/foreach.hpp>
#include <stout/try.hpp>

namespace flocker {

struct Settings
{
  std::string socket = "/run/flocker/isolator.sock";
  std::string sandboxDirectory = "/mnt/mesos/sandbox";

  // With the seconds that `recover` may take before it, less than the default of the agent's
  // --executor_registration_timeout (1 minute), in which the preparation is counted.
  Duration timeout = Seconds(50);
};


inline Try<Settings> read(const mesos::Parameters& parameters)
{
  Settings settings;

  foreach (const mesos::Parameter& parameter, parameters.parameter()) {
    if (parameter.key() == "socket") {
      settings.socket = parameter.value();
    } else if (parameter.key() == "sandbox_directory") {
      settings.sandboxDirectory = parameter.value();
    } else if (parameter.key() == "timeout") {
      const Try<Duration> timeout = Duration::parse(parameter.value());
      if (timeout.isError() || timeout.get() <= Duration::zero()) {
        return Error("timeout '" + parameter.value() + "' is not a duration such as '50secs' or '5mins'");
      }
      settings.timeout = timeout.get();
    } else {
      return Error(
          "unknown parameter '" + parameter.key() + "'; there are socket, sandbox_directory and timeout. "
          "Where the control service is and its certificates are flocker-agent's settings");
    }
  }

  return settings;
}

} // namespace flocker {

#endif // FLOCKER_SETTINGS_HPP

// SPDX-License-Identifier: Apache-2.0
//
// Forwards the calls of the Mesos containerizer to flocker-agent and turns the answers back. What a volume is, where it
// goes and who holds it is decided there.

#include <sys/types.h>

#include <string>
#include <vector>

#include <glog/logging.h>

#include <mesos/mesos.hpp>
#include <mesos/module.hpp>
#include <mesos/version.hpp>

#include <mesos/module/isolator.hpp>

#include <mesos/slave/isolator.hpp>

#include <process/dispatch.hpp>
#include <process/future.hpp>
#include <process/process.hpp>

#include <stout/hashset.hpp>
#include <stout/nothing.hpp>
#include <stout/option.hpp>
#include <stout/try.hpp>

#include "daemon.hpp"
#include "isolator_process.hpp"
#include "settings.hpp"

#if MESOS_MAJOR_VERSION_NUM != 1 || MESOS_MINOR_VERSION_NUM < 9
#error "the Flocker isolator is for Mesos 1.9 and later 1.x"
#endif

namespace flocker {

using mesos::ContainerID;
using mesos::Parameters;
using mesos::ResourceStatistics;

using mesos::slave::ContainerConfig;
using mesos::slave::ContainerLaunchInfo;
using mesos::slave::ContainerLimitation;
using mesos::slave::ContainerState;
using mesos::slave::Isolator;

using process::Future;
using process::dispatch;

// What the agent sees. It must not block, so all is done in the process behind it.
class FlockerIsolator : public Isolator
{
public:
  FlockerIsolator(const Daemon& daemon, const Settings& settings)
    : process(daemon, settings)
  {
    spawn(process);
  }

  ~FlockerIsolator() override
  {
    terminate(process);
    wait(process);
  }

  bool supportsNesting() override { return true; }

  bool supportsStandalone() override { return true; }

  Future<Nothing> recover(const std::vector<ContainerState>& states, const hashset<ContainerID>& orphans) override
  {
    return dispatch(process, &FlockerIsolatorProcess::recover, states, orphans);
  }

  Future<Option<ContainerLaunchInfo>> prepare(const ContainerID& containerId, const ContainerConfig& config) override
  {
    return dispatch(process, &FlockerIsolatorProcess::prepare, containerId, config);
  }

  Future<Nothing> isolate(const ContainerID& containerId, pid_t pid) override
  {
    return dispatch(process, &FlockerIsolatorProcess::isolate, containerId, pid);
  }

  Future<ContainerLimitation> watch(const ContainerID& containerId) override
  {
    return dispatch(process, &FlockerIsolatorProcess::watch, containerId);
  }

  Future<ResourceStatistics> usage(const ContainerID& containerId) override
  {
    return dispatch(process, &FlockerIsolatorProcess::usage, containerId);
  }

  Future<Nothing> cleanup(const ContainerID& containerId) override
  {
    return dispatch(process, &FlockerIsolatorProcess::cleanup, containerId);
  }

private:
  FlockerIsolatorProcess process;
};


// The agent does not start when this returns null.
static Isolator* create(const Parameters& parameters)
{
  const Try<Settings> settings = read(parameters);
  if (settings.isError()) {
    LOG(ERROR) << "Flocker isolator: " << settings.error();
    return nullptr;
  }

  const Try<Daemon> daemon = Daemon::at(settings->socket);
  if (daemon.isError()) {
    LOG(ERROR) << "Flocker isolator: " << daemon.error();
    return nullptr;
  }

  return new FlockerIsolator(daemon.get(), settings.get());
}

} // namespace flocker {


// The name of this symbol is the name of the module.
mesos::modules::Module<mesos::slave::Isolator> com_clusterhq_flocker_FlockerIsolator(
    MESOS_MODULE_API_VERSION,
    MESOS_VERSION,
    "mesos-module-flocker",
    "",
    "Flocker volumes for containers, by way of flocker-agent",
    nullptr,
    flocker::create);

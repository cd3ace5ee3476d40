// SPDX-License-Identifier: Apache-2.0

#ifndef FLOCKER_DAEMON_HPP
#define FLOCKER_DAEMON_HPP

#include <string>

#include <process/address.hpp>
#include <process/future.hpp>
#include <process/http.hpp>

#include <stout/duration.hpp>
#include <stout/json.hpp>
#include <stout/none.hpp>
#include <stout/option.hpp>
#include <stout/result.hpp>
#include <stout/stringify.hpp>
#include <stout/try.hpp>

namespace flocker {

// A JSON object, or none where the daemon said "204 No Content".
using Answer = Option<JSON::Object>;


// The node agent's daemon behind its unix socket. Each call is one request on a connection of its own. When its bound
// is over, the connection is closed, so that the daemon can see that nobody waits any more.
class Daemon
{
public:
  static Try<Daemon> at(const std::string& socket)
  {
    Try<process::network::unix::Address> address = process::network::unix::Address::create(socket);
    if (address.isError()) {
      return Error("socket '" + socket + "': " + address.error());
    }
    return Daemon(socket, address.get());
  }

  // Fails with a message that can be shown to the user of a task.
  process::Future<Answer> call(
      const std::string& method,
      const JSON::Object& question,
      const Duration& bound) const
  {
    using process::Failure;
    using process::Future;
    using process::http::Connection;
    using process::http::Response;

    process::http::Request request;
    request.method = "POST";
    request.url.domain = "localhost"; // libprocess aborts the agent when there is no host.
    request.url.path = "/v1/isolator/" + method;
    request.headers["Content-Type"] = "application/json";
    request.headers["Accept"] = "application/json";
    request.body = stringify(question);
    request.keepAlive = false;

    const std::string socket_ = socket;

    return process::http::connect(address, process::http::Scheme::HTTP)
      .then([request](const Connection& connection) { return exchange(connection, request); })
      .after(bound, [bound](Future<Response> response) -> Future<Response> {
        response.discard();
        return Failure("no answer within " + stringify(bound));
      })
      .repair([socket_, method](const Future<Response>& response) -> Future<Response> {
        return Failure(
            "no answer from flocker-agent on " + socket_ + " to '" + method + "': " + response.failure() +
            "; check that flocker-agent runs on this machine");
      })
      .then([socket_, method](const Response& response) { return read(response, method, socket_); });
  }

private:
  Daemon(const std::string& _socket, const process::network::unix::Address& _address)
    : socket(_socket), address(_address) {}

  static process::Future<process::http::Response> exchange(
      process::http::Connection connection,
      const process::http::Request& request)
  {
    process::Future<process::http::Response> response = connection.send(request);

    // libprocess fails the response when the last copy of the connection goes, and does nothing about a discard. The
    // callback does both: it holds a copy until the response is there, and closes the connection on a discard.
    response.onDiscard([connection]() mutable { connection.disconnect(); });

    return response;
  }

  static process::Future<Answer> read(
      const process::http::Response& response,
      const std::string& method,
      const std::string& socket)
  {
    if (response.code == process::http::Status::NO_CONTENT) {
      return Answer(None());
    }

    const Try<JSON::Object> body = JSON::parse<JSON::Object>(response.body);

    if (response.code == process::http::Status::OK) {
      if (body.isError()) {
        return process::Failure(
            "flocker-agent on " + socket + " answered '" + method + "' with no JSON object: " + body.error());
      }
      return Answer(body.get());
    }

    if (body.isSome()) {
      const Result<JSON::String> message = body->at<JSON::String>("message");
      if (message.isSome()) {
        return process::Failure(message->value);
      }
    }

    return process::Failure("flocker-agent on " + socket + " answered '" + method + "' with " + response.status);
  }

  std::string socket;
  process::network::unix::Address address;
};

} // namespace flocker {

#endif // FLOCKER_DAEMON_HPP

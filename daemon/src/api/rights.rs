//! Who may call what: every method of every service, and nothing that is not in this table.
//!
//! Which *jobs* a caller may see or move is no matter of this table: the store's queries ask for the owner themselves
//! (`Scope`), and somebody else's job does not exist for them.

/// Whom a method serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Right {
    /// Everybody who reaches the socket.
    Anyone,
    /// Those whom this daemon serves: each with their own jobs.
    User,
    /// Operators alone.
    Operator,
}

/// One method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Method {
    /// `package.Service/Method`.
    pub(super) name: &'static str,
    pub(super) right: Right,
    /// It changes something: a line in the log tells who did it.
    pub(super) changes: bool,
}

const fn reads(name: &'static str, right: Right) -> Method {
    let changes = false;
    Method { name, right, changes }
}

const fn changes(name: &'static str, right: Right) -> Method {
    let changes = true;
    Method { name, right, changes }
}

/// The whole table. A test demands a line for every method that there is.
pub(super) const METHODS: &[Method] = &[
    reads("grpc.health.v1.Health/Check", Right::Anyone),
    reads("grpc.health.v1.Health/List", Right::Anyone),
    reads("grpc.health.v1.Health/Watch", Right::Anyone),
    reads("grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Right::User),
    reads(
        "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        Right::User,
    ),
    reads("hfetch.v1.AdminService/GetServerInfo", Right::User),
    // The jobs of all users are in it.
    reads("hfetch.v1.AdminService/BackUpStore", Right::Operator),
    changes("hfetch.v1.AdminService/Reload", Right::Operator),
    changes("hfetch.v1.AdminService/Shutdown", Right::Operator),
    reads("hfetch.v1.BandwidthService/GetLimit", Right::User),
    changes("hfetch.v1.BandwidthService/SetLimit", Right::Operator),
    changes("hfetch.v1.BandwidthService/UpdateJobs", Right::User),
    // What is in a cache is of all users: the names of private repositories, too.
    reads("hfetch.v1.CacheService/ListCache", Right::Operator),
    reads("hfetch.v1.CacheService/VerifyCache", Right::Operator),
    changes("hfetch.v1.CacheService/PruneCache", Right::Operator),
    changes("hfetch.v1.CacheService/RemoveCached", Right::Operator),
    changes("hfetch.v1.CacheService/SetPins", Right::Operator),
    // It tells the daemon's paths and proxies, as the configuration does.
    reads("hfetch.v1.DoctorService/Examine", Right::User),
    reads("hfetch.v1.EndpointService/ListEndpoints", Right::User),
    changes("hfetch.v1.EndpointService/ProbeEndpoints", Right::User),
    reads("hfetch.v1.EventService/Watch", Right::User),
    reads("hfetch.v1.JobService/GetJob", Right::User),
    reads("hfetch.v1.JobService/ListFiles", Right::User),
    reads("hfetch.v1.JobService/ListJobs", Right::User),
    reads("hfetch.v1.JobService/PlanJob", Right::User),
    changes("hfetch.v1.JobService/CancelJobs", Right::User),
    changes("hfetch.v1.JobService/PauseJobs", Right::User),
    changes("hfetch.v1.JobService/ResumeJobs", Right::User),
    changes("hfetch.v1.JobService/RetryJobs", Right::User),
    changes("hfetch.v1.JobService/SubmitJob", Right::User),
    reads("hfetch.v1.NameService/ListAliases", Right::User),
    reads("hfetch.v1.NameService/ResolveName", Right::User),
    reads("hfetch.v1.NameService/SearchRepos", Right::User),
    changes("hfetch.v1.NameService/RemoveAlias", Right::User),
    changes("hfetch.v1.NameService/SetAlias", Right::User),
    reads("hfetch.v1.RouteService/ExplainRoute", Right::User),
    reads("hfetch.v1.RouteService/ListJobRoutes", Right::User),
    changes("hfetch.v1.ScheduleService/AddSchedule", Right::User),
    reads("hfetch.v1.ScheduleService/GetSchedule", Right::User),
    reads("hfetch.v1.ScheduleService/ListSchedules", Right::User),
    changes("hfetch.v1.ScheduleService/PauseSchedule", Right::User),
    changes("hfetch.v1.ScheduleService/RemoveSchedule", Right::User),
    changes("hfetch.v1.ScheduleService/ResumeSchedule", Right::User),
    changes("hfetch.v1.ScheduleService/RunSchedule", Right::User),
    changes("hfetch.v1.TokenService/Login", Right::User),
    changes("hfetch.v1.TokenService/Logout", Right::User),
    reads("hfetch.v1.TokenService/WhoAmI", Right::User),
    reads("hfetch.v1.UsageService/GetUsage", Right::User),
];

/// The entry of a request's path, which is `/package.Service/Method`.
pub(super) fn of(path: &str) -> Option<Method> {
    let name = path.strip_prefix('/')?;
    METHODS.iter().find(|method| method.name == name).copied()
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use prost_types::FileDescriptorSet;

    use super::*;

    #[test]
    fn every_method_has_a_right() {
        for set in [
            hfetch_proto::FILE_DESCRIPTOR_SET,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ] {
            let set = FileDescriptorSet::decode(set).unwrap();
            for file in &set.file {
                for service in &file.service {
                    for method in &service.method {
                        let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                        assert!(of(&path).is_some(), "{path} stands in no line of METHODS");
                    }
                }
            }
        }
    }

    #[test]
    fn nothing_else_is_served() {
        for path in [
            "",
            "/",
            "/hfetch.v1.JobService",
            "/hfetch.v1.JobService/",
            "/hfetch.v1.JobService/GetJob/",
            "//hfetch.v1.JobService/GetJob",
            "/hfetch.v1.JobService/getjob",
            "/hfetch.v1.JobService/GetJob?x",
            "hfetch.v1.JobService/GetJob",
        ] {
            assert_eq!(of(path), None, "{path}");
        }
    }

    #[test]
    fn only_health_is_for_everybody() {
        let open = METHODS.iter().filter(|method| method.right == Right::Anyone);
        for method in open {
            assert!(
                method.name.starts_with("grpc.health.v1.") && !method.changes,
                "{method:?}"
            );
        }
    }
}

//! Who a process is, from the names of its cgroups: the systemd unit, the container, the pod.
//!
//! Nobody writes these down as a format; they are the habits of the runtimes, with systemd's
//! or the plain cgroup driver. What is not recognised stays unknown.

use super::cgroup;

/// What the paths of /proc/PID/cgroup tell; `None` is unknown, or that there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CgroupIdentity {
    /// Path in the hierarchy that has the memory controller.
    pub path: Option<String>,
    /// Innermost systemd unit: `nginx.service`, `session-3.scope`.
    pub unit: Option<String>,
    /// Id of the container, 64 hexadecimal digits; the name of one of LXC.
    pub container: Option<String>,
    /// Uid of the Kubernetes pod, with dashes; a static pod's has none.
    pub pod_uid: Option<String>,
}

/// Parses /proc/PID/cgroup.
pub fn cgroup_identity(text: &str) -> CgroupIdentity {
    let paths = cgroup(text);
    let mut identity = CgroupIdentity {
        path: paths.memory_v1.clone().or_else(|| paths.unified.clone()),
        ..CgroupIdentity::default()
    };
    let named = |name: &str| {
        text.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            (fields.next()? == name).then(|| fields.next()).flatten()
        })
    };
    // Units are systemd's own hierarchy's; all have them where there is only one.
    let memory = paths.memory_v1.as_deref();
    for path in [named("name=systemd"), paths.unified.as_deref(), memory].into_iter().flatten() {
        let mut segments = path.split(['/', ':']).filter(|segment| !segment.is_empty());
        let found = segments.clone().rev().find_map(container);
        identity.container = identity.container.take().or(found);
        identity.pod_uid = identity.pod_uid.take().or_else(|| segments.clone().rev().find_map(pod));
        identity.unit = identity.unit.take().or_else(|| segments.rfind(is_unit).map(str::to_owned));
    }
    identity
}

fn is_unit(segment: &&str) -> bool {
    segment.ends_with(".service") || segment.ends_with(".scope")
}

/// The container of `docker-ID.scope`, `cri-containerd-ID.scope`, `crio-ID`, `libpod-ID.scope`,
/// a bare `ID` (docker, Kubernetes and ECS with the cgroup driver), `lxc.payload.NAME`.
fn container(segment: &str) -> Option<String> {
    if let Some(name) = segment.strip_prefix("lxc.payload.") {
        return Some(name.to_owned());
    }
    let name = segment.strip_suffix(".scope").unwrap_or(segment);
    // The monitor of a container lives beside it.
    if name.contains("conmon") {
        return None;
    }
    let id = name.rsplit('-').next()?;
    (id.len() == 64 && is_hex(id)).then(|| id.to_owned())
}

/// The pod of `podUID`, or of `kubepods-burstable-podUID.slice`, in which systemd's escaping
/// made the dashes underscores.
fn pod(segment: &str) -> Option<String> {
    let name = segment.strip_suffix(".slice").unwrap_or(segment);
    let (_, uid) = name.rsplit_once("pod")?;
    let uid = uid.replace('_', "-");
    let parts: Vec<usize> = uid.split('-').map(str::len).collect();
    let is_uid = matches!(parts.as_slice(), [8, 4, 4, 4, 12] | [32]);
    (is_uid && uid.split('-').all(is_hex)).then_some(uid)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "6d6e3f4e4c7b0a3e1f7b2a90c1d2e3f405162738495a6b7c8d9eafb0c1d2e3f4";
    const UID: &str = "3f2b1c4d-5e6f-4a7b-8c9d-0e1f2a3b4c5d";

    /// `ID` and `UID` in the text stand for those above, `U_I_D` for the escaped one.
    fn check(text: &str, unit: Option<&str>, container: Option<&str>, pod: Option<&str>) {
        let escaped = UID.replace('-', "_");
        let text = text.replace("U_I_D", &escaped).replace("UID", UID).replace("ID", ID);
        let found = cgroup_identity(&text);
        let fill = |text: &str| text.replace("UID", UID).replace("ID", ID);
        assert_eq!(found.unit, unit.map(fill), "{text}");
        assert_eq!(found.container, container.map(fill), "{text}");
        assert_eq!(found.pod_uid, pod.map(fill), "{text}");
    }

    #[test]
    fn units_are_the_innermost() {
        check("0::/system.slice/nginx.service\n", Some("nginx.service"), None, None);
        let template = "0::/system.slice/system-postgresql.slice/postgresql@15-main.service\n";
        check(template, Some("postgresql@15-main.service"), None, None);
        let session = "0::/user.slice/user-1000.slice/session-3.scope\n";
        check(session, Some("session-3.scope"), None, None);
        let user = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/shop.service\n";
        check(user, Some("shop.service"), None, None);
        let nested = "0::/system.slice/docker-ID.scope/init\n";
        check(nested, Some("docker-ID.scope"), Some("ID"), None);
        // Of a hybrid host, the controllers of version 1 know no units.
        let hybrid = "4:memory:/\n1:name=systemd:/system.slice/cron.service\n0::/\n";
        check(hybrid, Some("cron.service"), None, None);
        check("0::/\n", None, None, None);
        check("0::/../..\n", None, None, None);
    }

    #[test]
    fn containers_of_every_runtime() {
        check("12:memory:/docker/ID\n1:name=systemd:/docker/ID\n", None, Some("ID"), None);
        check("0::/system.slice/docker-ID.scope\n", Some("docker-ID.scope"), Some("ID"), None);
        check(
            "0::/machine.slice/libpod-ID.scope/container\n",
            Some("libpod-ID.scope"),
            Some("ID"),
            None,
        );
        let rootless =
            "0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope\n";
        check(rootless, Some("libpod-ID.scope"), Some("ID"), None);
        check(
            "0::/machine.slice/libpod-conmon-ID.scope\n",
            Some("libpod-conmon-ID.scope"),
            None,
            None,
        );
        check("9:memory:/ecs/0a1b2c/ID\n", None, Some("ID"), None);
        check(
            "0::/lxc.payload.web/system.slice/nginx.service\n",
            Some("nginx.service"),
            Some("web"),
            None,
        );
    }

    #[test]
    fn pods_of_both_drivers() {
        let systemd = "0::/kubepods.slice/kubepods-burstable.slice/\
                       kubepods-burstable-podU_I_D.slice/cri-containerd-ID.scope\n";
        check(systemd, Some("cri-containerd-ID.scope"), Some("ID"), Some("UID"));
        let guaranteed = "0::/kubepods.slice/kubepods-podU_I_D.slice/crio-ID.scope\n";
        check(guaranteed, Some("crio-ID.scope"), Some("ID"), Some("UID"));
        check("11:memory:/kubepods/besteffort/podUID/ID\n", None, Some("ID"), Some("UID"));
        check("11:memory:/kubepods/besteffort/podUID/crio-ID\n", None, Some("ID"), Some("UID"));
        // Drivers that disagree: containerd takes the name for a path.
        let mixed = "0::/system.slice/containerd.service/kubepods-burstable-podU_I_D.slice:cri-containerd:ID\n";
        check(mixed, Some("containerd.service"), Some("ID"), Some("UID"));
        // A static pod's uid is a hash.
        let hash = "0123456789abcdef0123456789abcdef";
        check(
            &format!("11:memory:/kubepods/burstable/pod{hash}/ID\n"),
            None,
            Some("ID"),
            Some(hash),
        );
        // Names that only look alike.
        check("0::/system.slice/podman.service\n", Some("podman.service"), None, None);
        check("0::/system.slice/tripod-0123.service\n", Some("tripod-0123.service"), None, None);
    }
}

//! nginx as a Hub: the few answers of the API are files as well, and what a Hub says in headers stands in the configuration.

use std::{fmt::Write as _, fs, io::Write as _, net::TcpListener, path::Path, process::Command};

use anyhow::{Context as _, bail, ensure};
use hfetch_tests::sim::{Content, sha1_hex};
use serde_json::json;
use tokio::{
    net::TcpStream,
    time::{Duration, Instant, sleep},
};

use crate::{measure::Group, rows::REPO};

const START: Duration = Duration::from_secs(10);

/// A running nginx and what it serves.
pub(crate) struct Nginx {
    _group: Group,
    _folder: tempfile::TempDir,
    endpoint: String,
}

impl Nginx {
    /// Makes the files below `served` and starts nginx for them.
    pub(crate) async fn start(served: &Path, files: &[(String, u64)]) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("hfetch-bench-").tempdir_in(served)?;
        let commit = sha1_hex(format!("{files:?}").as_bytes());
        let locations = write_repository(folder.path(), &commit, files)?;
        // Nobody else takes a port so soon after it was given back; if somebody does, nginx says so.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let root = folder.path().display();
        let config = format!(
            "daemon off;\nmaster_process off;\nworker_processes 1;\npid {root}/nginx.pid;\nerror_log {root}/error.log;\n\
             events {{ worker_connections 1024; }}\nhttp {{\n  access_log off;\n  sendfile on;\n  sendfile_max_chunk 1m;\n  \
             tcp_nopush on;\n  keepalive_requests 100000;\n  client_body_temp_path {root}/temp;\n  proxy_temp_path \
             {root}/temp;\n  fastcgi_temp_path {root}/temp;\n  uwsgi_temp_path {root}/temp;\n  scgi_temp_path \
             {root}/temp;\n  default_type application/octet-stream;\n  server {{\n    listen 127.0.0.1:{port};\n    root \
             {root}/www;\n    add_header X-Repo-Commit {commit};\n    location /api/ {{ default_type application/json; \
             add_header X-Repo-Commit {commit}; }}\n{locations}  }}\n}}\n"
        );
        let path = folder.path().join("nginx.conf");
        fs::write(&path, config)?;
        let mut command = Command::new("nginx");
        // Debian has it where only root's PATH leads.
        let search = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/usr/local/sbin";
        command
            .env("PATH", search)
            .arg("-e")
            .arg(folder.path().join("error.log"));
        command.arg("-p").arg(folder.path()).arg("-c").arg(&path);
        let mut group = Group::start(&mut command, &folder.path().join("nginx.log"))?;
        let deadline = Instant::now() + START;
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            if group.0.try_wait()?.is_some() {
                let said = fs::read_to_string(folder.path().join("error.log")).unwrap_or_default();
                bail!("nginx does not run: {said}");
            }
            ensure!(Instant::now() < deadline, "nginx does not answer");
            sleep(Duration::from_millis(5)).await;
        }
        Ok(Self {
            _group: group,
            _folder: folder,
            endpoint: format!("http://127.0.0.1:{port}"),
        })
    }

    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }
}

/// Writes the files and what the API says of them; gives the part of the configuration that is about files.
fn write_repository(root: &Path, commit: &str, files: &[(String, u64)]) -> anyhow::Result<String> {
    let www = root.join("www");
    let api = www.join("api/models").join(REPO);
    let resolve = www.join(REPO).join("resolve");
    for folder in [&api.join("revision"), &api.join("tree"), &resolve.join(commit)] {
        fs::create_dir_all(folder)?;
    }
    std::os::unix::fs::symlink(commit, resolve.join("main"))?;
    let (mut tree, mut siblings, mut locations) = (Vec::new(), Vec::new(), String::new());
    for (number, (path, size)) in files.iter().enumerate() {
        let content = Content::seeded(number as u64, *size);
        let mut file = fs::File::create(resolve.join(commit).join(path))?;
        let mut offset = 0;
        while offset < *size {
            let piece = content.slice(offset, *size - offset)?;
            file.write_all(&piece)
                .with_context(|| format!("no room below {} for what nginx shall serve", root.display()))?;
            offset += piece.len() as u64;
        }
        let sha256 = content.sha256()?;
        tree.push(json!({
            "type": "file", "path": path, "size": size, "oid": sha1_hex(path.as_bytes()),
            "lfs": {"oid": sha256, "size": size, "pointerSize": 134},
        }));
        siblings.push(json!({"rfilename": path}));
        for revision in [commit, "main"] {
            writeln!(
                locations,
                "    location = /{REPO}/resolve/{revision}/{path} {{ add_header X-Repo-Commit {commit}; add_header \
                 X-Linked-Size {size}; add_header X-Linked-ETag '\"{sha256}\"'; }}"
            )?;
        }
    }
    let info = json!({
        "_id": &sha1_hex(REPO.as_bytes())[..24], "id": REPO, "modelId": REPO, "sha": commit, "private": false, "gated": false,
        "disabled": false, "downloads": 0, "likes": 0, "tags": [], "siblings": siblings,
    });
    for revision in [commit, "main"] {
        fs::write(api.join("revision").join(revision), info.to_string())?;
        fs::write(
            api.join("tree").join(revision),
            serde_json::Value::from(tree.clone()).to_string(),
        )?;
    }
    Ok(locations)
}

//! What a shared daemon tells of its configuration files, and to whom.

use std::fs;

use hfetch_proto::v1::{
    ExamineRequest, GetServerInfoRequest, admin_service_client::AdminServiceClient,
    doctor_service_client::DoctorServiceClient,
};
use hfetch_tests::harness::channel_as;

use super::rights::{ANN, OPERATOR, can_play_users, open_to_all, shared};

/// Keys name users, mistakes quote the files: others hear that something is not loaded.
#[tokio::test]
async fn what_the_files_say_is_told_to_operators() -> anyhow::Result<()> {
    if !can_play_users() {
        return Ok(());
    }
    let scratch = shared()?;
    let daemon = scratch.daemon().await?;
    open_to_all(&scratch)?;
    let file = scratch.path("hfetch.toml");
    let good = fs::read_to_string(&file)?;
    for (added, secret) in [
        ("\n[users.carla]\nweight = 3\n", "users.carla.weight"),
        ("\n[users.carla]\nwait = 3\n", "carla"),
    ] {
        fs::write(&file, format!("{good}{added}"))?;
        for (uid, operator) in [(ANN, false), (OPERATOR, true)] {
            let channel = channel_as(uid, scratch.socket()).await?;
            let mut admin = AdminServiceClient::new(channel.clone());
            let request = GetServerInfoRequest { check_files: true };
            let info = admin.get_server_info(request).await?.into_inner();
            assert!(info.config_changed, "{info:?}");
            assert_eq!(format!("{info:?}").contains(secret), operator, "{info:?}");
            let mut doctor = DoctorServiceClient::new(channel);
            let request = ExamineRequest::default();
            let findings = doctor.examine(request).await?.into_inner().findings;
            let told = findings.iter().filter(|finding| finding.check == "config");
            let told: Vec<&str> = told.map(|finding| finding.message.as_str()).collect();
            assert!(told.iter().any(|text| text.starts_with("the files ")), "{findings:#?}");
            assert_eq!(told.iter().any(|text| text.contains(secret)), operator, "{findings:#?}");
        }
    }
    daemon.stop().await?;
    Ok(())
}

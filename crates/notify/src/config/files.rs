//! Files that a configuration names, relative to the file that it stands in.

use std::path::{Path, PathBuf};

use httpclient::{Options, TlsOptions};

use super::{Alerting, Config, Global, Receiver};

impl Config {
    /// Makes relative names of files relative to the folder of the configuration, as Alertmanager
    /// has it. Programs are left alone: those are looked for in PATH.
    pub fn set_directory(&mut self, folder: &Path) {
        let mut files: Vec<&mut PathBuf> = self.templates.iter_mut().collect();
        let (mut tls, mut http) = (Vec::new(), Vec::new());
        self.global.name_files(&mut files, &mut tls, &mut http);
        for receiver in &mut self.receivers {
            receiver.name_files(&mut files, &mut tls, &mut http);
        }
        for file in files {
            *file = folder.join(&*file);
        }
        tls.into_iter().for_each(|options| options.resolve_files(folder));
        http.into_iter().for_each(|options| options.resolve_files(folder));
        self.alerting.set_directory(folder);
    }
}

impl Alerting {
    /// The same for Alertmanagers alone.
    pub fn set_directory(&mut self, folder: &Path) {
        self.alertmanagers.iter_mut().for_each(|one| one.set_directory(folder));
    }
}

impl Global {
    fn name_files<'c>(
        &'c mut self,
        files: &mut Vec<&'c mut PathBuf>,
        tls: &mut Vec<&'c mut TlsOptions>,
        http: &mut Vec<&'c mut Options>,
    ) {
        files.extend(&mut self.smtp_auth_password_file);
        files.extend(&mut self.slack_api_url_file);
        files.extend(&mut self.slack_app_token_file);
        tls.extend(&mut self.smtp_tls_config);
        http.extend(&mut self.http_config);
    }
}

impl Receiver {
    fn name_files<'c>(
        &'c mut self,
        files: &mut Vec<&'c mut PathBuf>,
        tls: &mut Vec<&'c mut TlsOptions>,
        http: &mut Vec<&'c mut Options>,
    ) {
        for webhook in &mut self.webhook_configs {
            files.extend(&mut webhook.url_file);
            http.extend(&mut webhook.http_config);
        }
        for slack in &mut self.slack_configs {
            files.extend(slack.api_url_file.iter_mut().chain(&mut slack.app_token_file));
            http.extend(&mut slack.http_config);
        }
        for pagerduty in &mut self.pagerduty_configs {
            files.extend(&mut pagerduty.routing_key_file);
            http.extend(&mut pagerduty.http_config);
        }
        for email in &mut self.email_configs {
            files.extend(&mut email.auth_password_file);
            tls.extend(&mut email.tls_config);
        }
        files.extend(self.log_configs.iter_mut().map(|log| &mut log.path));
    }
}

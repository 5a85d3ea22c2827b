//! Short names: those of the configuration, and the users' own.

use super::{CallError, Engine, HubCall, names, stop::chain};

impl Engine {
    /// The tables of short names that are the same for all users.
    ///
    /// # Errors
    /// When the configuration holds a bad alias, which its check should have found.
    pub fn names(&self) -> Result<crate::names::Names, CallError> {
        crate::names::Names::new(&self.config().aliases).map_err(|error| CallError::Internal(chain(&error)))
    }

    /// A user's own aliases: name and target.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn aliases(&self, uid: u32) -> Result<Vec<(String, String)>, CallError> {
        Ok(self.shared.store.aliases(uid).await?)
    }

    /// Adds or replaces an alias whose target is the text of this call; gives its stored form and whether it replaced one.
    ///
    /// # Errors
    /// When the name or the target cannot be used.
    pub async fn set_alias(&self, name: &str, call: &HubCall) -> Result<(String, String, bool), CallError> {
        let (name, target) = names::check_alias(&self.shared, self.mode, name, call)?;
        let replaced = self
            .shared
            .store
            .set_alias(call.uid, name.clone(), target.clone())
            .await?;
        Ok((name, target, replaced))
    }

    /// What speaks against an alias whose target is the text of this call; waits for the Hub, but not for long.
    pub async fn doubt_alias(&self, call: HubCall) -> Option<String> {
        names::doubt_alias(&self.shared, self.mode, call).await
    }

    /// Removes an alias.
    ///
    /// # Errors
    /// When there is none.
    pub async fn remove_alias(&self, uid: u32, name: &str) -> Result<(), CallError> {
        match self
            .shared
            .store
            .remove_alias(uid, crate::names::same_name(name))
            .await?
        {
            true => Ok(()),
            false => Err(CallError::NoSuchAlias(name.chars().take(100).collect())),
        }
    }
}

//! Whose client certificates a domain asks its visitors for.

use model::change::ObjectId;
use model::client_ca::ClientCa;
use model::id::DomainId;
use serde_json::json;

use super::{DomainRecord, event};
use crate::Store;
use crate::caller::{Access, Actor};
use crate::error::Result;
use crate::write::Shape;

impl Store {
    /// Asks visitors of a domain for certificates of `ca`; none: asks nobody. What is so already changes
    /// nothing.
    ///
    /// # Errors
    /// [`crate::StoreError::NotFound`].
    pub async fn set_client_ca(
        &self,
        actor: &Actor,
        access: Access,
        id: DomainId,
        ca: Option<ClientCa>,
    ) -> Result<DomainRecord> {
        let mut write = self.write(actor).await?;
        let mut domain = self.load_domain(write.connection(), access, id).await?;
        if domain.client_ca == ca {
            return Ok(domain);
        }
        sqlx::query("UPDATE domains SET client_ca = $2 WHERE id = $1")
            .bind(id.to_string())
            .bind(ca.as_ref().map(ClientCa::pem))
            .execute(write.connection())
            .await?;
        write.point(&ObjectId::Site(domain.app), Shape::Present).await?;
        let action = if ca.is_some() { "domain.client_ca.set" } else { "domain.client_ca.remove" };
        let authorities = ca.as_ref().map(ClientCa::authorities).unwrap_or_default();
        let subjects: Vec<String> = authorities.into_iter().map(|authority| authority.subject).collect();
        let details = json!({ "hostname": domain.host, "subjects": subjects });
        write.audit(event(&domain, action, details)).await?;
        write.commit().await?;
        domain.client_ca = ca;
        Ok(domain)
    }
}

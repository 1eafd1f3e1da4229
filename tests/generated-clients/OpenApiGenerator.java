import com.fasterxml.jackson.databind.ObjectMapper;
import java.util.List;
import java.util.Map;
import org.openapitools.client.ApiClient;
import org.openapitools.client.ApiException;
import org.openapitools.client.JSON;
import org.openapitools.client.api.UploadsApi;
import org.openapitools.client.model.ProblemDetails;
import org.openapitools.client.model.Upload;

/** The three calls of `dev` with a Java client that openapi-generator generated. */
public class OpenApiGenerator {
    public static void main(String[] arguments) throws Exception {
        Map<String, String> given = System.getenv();
        String vault = given.get("VAULT");
        UploadsApi media = api("MEDIA");
        int aborted = media.abortMultipartUploadWithHttpInfo("-", vault, given.get("FIRST"), null)
                .getStatusCode();
        ApiException denied = null;
        try {
            api("FINANCE").abortMultipartUpload("-", vault, given.get("SECOND"), null);
        } catch (ApiException error) {
            denied = error;
        }
        ObjectMapper json = JSON.getDefault().getMapper();
        ProblemDetails problem = json.readValue(denied.getResponseBody(), ProblemDetails.class);
        var near = problem.getNearMisses().get(0);
        List<Upload> left = media.listMultipartUploads("-", vault, null, null, null).getUploads();
        System.out.println(new ObjectMapper().writeValueAsString(Map.of(
                "aborted", aborted,
                "denied", Map.of(
                        "status", denied.getCode(),
                        "code", problem.getCode().getValue(),
                        "reason", problem.getReason(),
                        "policy", near.getStatement().getPolicy(),
                        "missed", near.getMissed().getValue()),
                "left", left.stream().map(Upload::getUploadId).toList())));
    }

    private static UploadsApi api(String team) {
        String token = System.getenv(team);
        ApiClient client = new ApiClient();
        client.updateBaseUri(System.getenv("REST"));
        client.setRequestInterceptor(request -> request.header("Authorization", "Bearer " + token));
        return new UploadsApi(client);
    }
}
